"""`make replay`: publishes a part of the history again, with the same ids and bytes.

The history is the stream that OPTIONS=history keeps. It is read up to where it ends when this begins. Invalid messages
are left out: they became dead letters when they first came.

Promise: when it ends, the broker has confirmed each message of the part. After an interruption, `--offset` goes on from
the last line. A message may then come twice; metric ignores the second one.
"""

from pipeline.broker import Broker, ConnectionLostError, Outgoing
from pipeline.messages import FEATURES, Y_TRUE, Value, Vector, parse
from pipeline.settings import UnusableError
from tools import BATCH, Message, batches, parser, reading, run

import sys
import time
import uuid
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pika.exceptions import ChannelClosedByBroker

HISTORY = "history"
KINDS: dict[str, Any] = {FEATURES: Vector, Y_TRUE: Value}
SLACK = 86400.0  # seconds by which an id may be later than the arrival of its message, since clocks differ


def main() -> None:
    options = parser("make replay", "Publish a part of the history again, with the same ids and bytes.")
    options.add_argument("--to", metavar="URL", help="another broker or virtual host to publish to")
    options.add_argument("--since", metavar="TIME", type=time_or_id, default="-inf", help="2026-11-01T08:00, or an id")
    options.add_argument("--until", metavar="TIME", type=time_or_id, default="inf", help="the same")
    options.add_argument("--offset", type=stream_offset, help="where to go on after an interruption")
    given = options.parse_args()
    if not given.since <= given.until:  # one of them may be nan
        options.error("--since takes a time before that of --until")
    replay = Replay(given.broker, given.since, given.until, given.offset)
    run("replay", given.to or given.broker, KINDS, replay.serve)
    print(file=sys.stderr)


def time_or_id(text: str) -> float:
    """An id, which is a Unix time; or a time in ISO 8601, local if it names no zone. Raises ArgumentTypeError."""
    for read in (float, lambda text: datetime.fromisoformat(text).timestamp()):
        with suppress(ValueError, OverflowError):
            return read(text)
    raise ArgumentTypeError(f"takes a time such as 2026-11-01T08:00, or an id, not {text!r}")


def stream_offset(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise ArgumentTypeError(f"takes a whole number from 0 on, not {text!r}")
    return int(text)


class Replay:
    """`offset`: where to begin in the stream, later where to go on."""

    def __init__(self, source: str, since: float, until: float, offset: int | None) -> None:
        self.source, self.since, self.until = source, since, until
        begin: Any = datetime.fromtimestamp(since - SLACK, UTC) if SLACK < since < time.time() else "first"
        self.given, self.offset = offset, begin if offset is None else offset
        self.end, self.published, self.largest = uuid.uuid4().bytes, 0, 1

    async def serve(self, broker: Broker) -> None:
        """The flow of this program: mark the end of the history, then read, choose and publish up to there."""
        with reading(self.source) as channel:
            try:
                channel.queue_declare(HISTORY, passive=True)
            except ChannelClosedByBroker as error:
                if "no queue" in error.reply_text:  # otherwise the broker has just started and is not ready
                    raise UnusableError("this broker keeps no history: that takes OPTIONS=history") from None
                raise
            channel.confirm_delivery()
            channel.basic_publish("", HISTORY, self.end, mandatory=True)
            channel.basic_qos(prefetch_count=BATCH)
            for batch in batches(channel, HISTORY, last=self.end, **{"x-stream-offset": self.offset}):
                chosen = list(self.choose(batch))
                await broker.publish(chosen)
                method, properties, _ = batch[-1]
                channel.basic_ack(method.delivery_tag, multiple=True)
                self.published += len(chosen)
                self.offset = properties.headers["x-stream-offset"] + 1
                line = f"\r{self.published:,} messages published; to go on: --offset {self.offset}"
                print(line, end="", file=sys.stderr, flush=True)
                if batch[-1][2] == self.end:
                    return
                self.largest = max(self.largest, *(len(body) for _, _, body in batch))
                await broker.wait_for_room(KINDS, self.largest)
            if self.offset == self.given:
                raise UnusableError(f"--offset {self.offset}: the history has nothing from there on")
            raise ConnectionLostError("the history does not go on")

    def choose(self, batch: list[Message]) -> Iterator[Outgoing]:
        """The valid messages whose ids are in the range."""
        for method, _, body in batch:
            kind = KINDS.get(method.routing_key)
            message = parse(body, kind) if kind else ""
            if not isinstance(message, str) and self.since <= float(message.id) <= self.until:
                yield Outgoing(method.routing_key, body)


if __name__ == "__main__":
    main()
