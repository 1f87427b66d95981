"""The environment as typed settings, and how a program runs: until it is done or told to stop, with errors in one line.

A service describes its settings as a dataclass. The field `pending_ttl` is the variable PENDING_TTL, its type gives the
valid values, and the description in the type is the error message for any other value:

    @dataclass(frozen=True, kw_only=True)
    class MetricSettings(Settings):
        pending_ttl: Annotated[float, Meta(gt=0, description="a number of seconds above 0")] = 604800.0
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta

STOPS = (signal.SIGTERM, signal.SIGINT)
STOP = 1.5  # seconds after SIGTERM at which the process ends, whatever hangs: a stop may take 2 s

T = TypeVar("T")


class UnusableError(Exception):
    """An unusable setting, or file that it names. The text explains what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every program."""

    log_level: Annotated[
        str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")
    ] = "INFO"


def read(kind: type[T]) -> T:
    """Read a dataclass of settings from the environment; an empty variable counts as not set.

    Raises UnusableError for an invalid value.
    """
    texts = {name: os.environ.get(name.upper(), "").strip() for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    types = get_type_hints(kind, include_extras=True)
    return kind(**{name: convert(name.upper(), text, types[name]) for name, text in texts.items() if text})


def convert(variable: str, text: str, kind: Any) -> Any:
    """The text of a variable as a value of the type. Raises UnusableError."""
    for read_text in (str, float):  # float: `.5` and `1e3` are numbers, although not in JSON
        try:
            return msgspec.convert(read_text(text), kind, strict=False)
        except ValueError:
            pass
    (meta,) = (m for part in (kind, *get_args(kind)) for m in getattr(part, "__metadata__", ()))
    shown = "" if meta.extra else f"={text!r}"  # extra: it holds a password
    raise UnusableError(f"{variable}{shown}: takes {meta.description}")


def readable(text: str) -> str:
    """The text with a question mark for each byte that is not UTF-8, as the name of a file may have."""
    return text.encode(errors="replace").decode()


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """On UnusableError, print one line for the operator and exit with code 2."""
    try:
        yield
    except UnusableError as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def run(service: str, kind: type[T], main: Callable[[T], Awaitable[None]]) -> None:
    """Run a service, `main(settings)`, until it is done or SIGTERM or SIGINT ends it: exit code 0.

    A signal ends the synchronous part of `main` at once, and cancels the awaitable that it returns. Anything that still
    hangs, such as a DNS lookup, ends with the process.
    """
    with one_line_errors(service):
        settings = read(kind)
        level = settings.log_level  # type: ignore[attr-defined]
        logging.basicConfig(level=level, format=f"%(asctime)s {service} %(levelname)s %(message)s")
        logging.getLogger("pika").setLevel(logging.CRITICAL)  # otherwise it logs tracebacks during outages
        for number in STOPS:
            signal.signal(number, lambda *_: os._exit(0))
        asyncio.run(_until_told_to_stop(main(settings)))


async def _until_told_to_stop(main: Awaitable[None]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(main)

    def stop(*_: object) -> None:
        with suppress(RuntimeError):  # the loop may have just ended
            loop.call_soon_threadsafe(task.cancel)
        if not signal.getitimer(signal.ITIMER_REAL)[0]:  # a second signal does not put off the end
            signal.setitimer(signal.ITIMER_REAL, STOP)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    for number in STOPS:  # not by the loop, which may be busy
        signal.signal(number, stop)
    await asyncio.wait({task})
    if task.cancelled():
        os._exit(0)  # what still runs in a thread would be waited for
    task.result()
