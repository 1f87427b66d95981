"""Programs for an operator that move messages: `make replay` and `make letters`.

They read with pika's blocking connection and publish with `pipeline.broker`, which has many messages confirmed at once
and waits through an outage. A message is acknowledged where it was read when it is confirmed where it was published, so
an interruption loses nothing.
"""

from pipeline.broker import BATCH_BYTES, BrokerSettings, ConnectionLostError, Serve, read_url, stay_connected, why
from pipeline.settings import convert, one_line_errors

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from socket import gaierror
from typing import Any, get_type_hints

import pika
from pika.exceptions import AMQPError

BATCH = 1000  # messages; also the prefetch of a stream
IDLE = 2.0  # seconds without a message after which a queue has been read; also the longest wait for a batch

Message = tuple[Any, Any, bytes]  # method, properties and body, as pika delivers them


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """A command line with the option --broker."""
    parser = argparse.ArgumentParser(program, description=description)
    default = os.environ.get("AMQP_URL") or "amqp://guest:guest@localhost:5672/%2F"
    parser.add_argument("--broker", metavar="URL", default=default, help="default: AMQP_URL, or localhost")
    return parser


def parameters_of(urls: str) -> list[pika.URLParameters]:
    """What AMQP_URL may be, for pika's blocking connection. Raises UnusableError."""
    convert("URL", urls, get_type_hints(BrokerSettings, include_extras=True)["amqp_url"])
    parameters = [read_url(url) for url in urls.split(",")]
    for each in parameters:
        each.heartbeat = 0  # nobody serves the connection while this waits for room in a queue
    return parameters


@contextmanager
def reading(urls: str) -> Iterator[Any]:
    """A channel to read with. Where that fails, at once or later, raises ConnectionLostError or UnusableError."""
    parameters = parameters_of(urls)
    try:
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            with suppress(AMQPError):  # pika rejects what it has read ahead, which a stream does not know
                connection.close()
    except (AMQPError, gaierror) as error:
        source = f"the source {parameters[-1].host}:{parameters[-1].port}"
        reason = why(error, source)
        if isinstance(reason, ConnectionLostError):
            reason = ConnectionLostError(f"{source}: {reason}")
        raise reason from None


def run(program: str, url: str, queues: Iterable[str], serve: Serve) -> None:
    """Call `serve` with a broker to publish to, on one connection after another, until it returns."""
    logging.basicConfig(level="WARNING", format=f"%(asctime)s {program} %(levelname)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs tracebacks during outages
    with one_line_errors(f"make {program}"):
        parameters_of(url)
        try:
            asyncio.run(stay_connected(program, BrokerSettings(amqp_url=url), queues, serve))
        except KeyboardInterrupt:
            raise SystemExit(f"\nmake {program}: interrupted; nothing is lost") from None


def batches(
    channel: Any, queue: str, limit: float = float("inf"), last: bytes | None = None, **arguments: Any
) -> Iterator[list[Message]]:
    """The messages of a queue, to be acknowledged: up to `limit` of them, up to `last`, or until none comes for IDLE s.

    A batch is handed out after IDLE seconds at the latest: nothing else can run while this waits.
    """
    batch, size, begun = list[Message](), 0, time.monotonic()
    if not limit:
        return
    for message in channel.consume(queue, arguments=arguments, inactivity_timeout=IDLE):
        over = message[0] is None
        if not over:
            batch.append(message)
            size, limit = size + len(message[2]), limit - 1
            over = not limit or message[2] == last
        full = len(batch) == BATCH or size > BATCH_BYTES or time.monotonic() > begun + IDLE
        if batch and (over or full):
            yield batch
            batch, size, begun = [], 0, time.monotonic()
        if over:
            return
