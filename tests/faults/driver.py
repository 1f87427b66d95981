"""Runs a service that kills itself with SIGKILL at the n-th of the steps it takes.

The environment says SERVICE (metric if not given), KILL_STEP (write, half-write,
fsync, commit, acknowledge, publish), KILL_AFTER (0: the step is
not done any more, 1: it is the last thing done) and KILL_AT (n).
CLOCK and STOPWATCH, if set, are files that hold how many seconds to add to the wall clock, and to the stopwatch
(time.monotonic) as the service's own file sees it: pika and asyncio keep theirs.
SLOW_LOOKUP, if set, makes the lookup of a name take a minute; USER_ID, if set, is the user (and group) to be.
"""

from __future__ import annotations

from pipeline.settings import run

import concurrent.futures.thread  # noqa: F401, which another user may not be able to import
import encodings.idna  # noqa: F401
import importlib
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika.channel

STEP = os.environ.pop("KILL_STEP", "")
AT = int(os.environ.pop("KILL_AT", "1"))
AFTER = os.environ.pop("KILL_AFTER", "0") == "1"
CLOCK = os.environ.pop("CLOCK", "")
STOPWATCH = os.environ.pop("STOPWATCH", "")
USER_ID = int(os.environ.pop("USER_ID", "0"))
SLOW_LOOKUP = bool(os.environ.pop("SLOW_LOOKUP", ""))
seen = 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, until it is called for the n-th time."""

    def call(*args: Any, **kwargs: Any) -> Any:
        global seen
        if step != STEP:
            return function(*args, **kwargs)
        seen += 1
        if seen == AT and not AFTER:
            die()
        result = function(*args, **kwargs)
        if seen == AT:
            die()
        return result

    return call


class Connection(sqlite3.Connection):
    """Commits where the service does: at the end of a `with`, or in a statement."""

    def __exit__(self, *args: Any) -> Any:
        leave = super().__exit__
        return deadly("commit", leave)(*args) if self.in_transaction else leave(*args)


def main() -> None:
    name = os.environ.pop("SERVICE", "metric")
    real_write, real_connect, real_time = os.write, sqlite3.connect, time.time

    def write(descriptor: int, text: bytes) -> int:
        if not (text[:1].isdigit() or text.startswith(b"id")):
            return real_write(descriptor, text)  # not a line of the CSV: one of pika's wake-ups
        if STEP == "half-write":
            return int(deadly("half-write", real_write)(descriptor, text[: len(text) // 2] or text))
        return int(deadly("write", real_write)(descriptor, text))

    os.write = write  # type: ignore[assignment]
    os.fsync = deadly("fsync", os.fsync)
    sqlite3.connect = lambda *args, **kwargs: real_connect(*args, factory=Connection, **kwargs)  # type: ignore[assignment]
    pika.channel.Channel.basic_ack = deadly("acknowledge", pika.channel.Channel.basic_ack)
    pika.channel.Channel.basic_publish = deadly("publish", pika.channel.Channel.basic_publish)
    service = importlib.import_module(name)
    if SLOW_LOOKUP:
        socket.getaddrinfo = lambda *_, **__: time.sleep(60)  # type: ignore[assignment]
    if USER_ID:
        os.setgroups([])
        os.setgid(USER_ID)
        os.setuid(USER_ID)
    if CLOCK:
        time.time = lambda: real_time() + float(Path(CLOCK).read_text())
    if STOPWATCH:
        service.time = SimpleNamespace(**vars(time))  # type: ignore[attr-defined]
        service.time.monotonic = lambda: time.monotonic() + float(Path(STOPWATCH).read_text())
    settings = next(getattr(service, each) for each in dir(service) if each.lower() == f"{name}settings")
    run(name, settings, service.main)


if __name__ == "__main__":
    main()
