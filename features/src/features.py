"""features: draws random held-out rows of a dataset and publishes them as samples.

Publishes, under one id, the feature vector to `features` ({"id": seconds, "body": [number or null, ...]}) and the true
value to `y_true` ({"id": seconds, "body": number}). The id is the Unix time in seconds, strictly increasing as long as
this service runs, whatever the clock does.

Which row it draws follows from the id (`row_of`), unless SEED is set.

Promise: a sample is done when the broker has confirmed both messages. Unconfirmed messages are published again, under
the same id, whatever happened to the connection in between. While too much waits in the queues, nothing is drawn.
"""

from pipeline.broker import BATCH_BYTES, Broker, BrokerSettings, Outgoing, stay_connected
from pipeline.dataset import Dataset, DataSettings, held_out, load, row_of
from pipeline.messages import FEATURES, Y_PRED, Y_TRUE, encode
from pipeline.settings import run

import asyncio
import logging
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

BATCH = 500  # samples published at once at most: enough to keep the broker busy
BURST = 1.0  # seconds: after a delay, at most the samples of this time are published at once
LOOK_EVERY = 10_000  # messages published between two looks at what waits, or fewer, where they are large
PROGRESS = 10.0  # seconds between two log lines about progress, where COUNT is set

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FeaturesSettings(BrokerSettings, DataSettings):
    """The environment variables of this service."""

    interval: Annotated[
        float, Meta(ge=0, le=1e9, description="seconds between samples, from 0 to 1e9, such as 10 or 0.5")
    ] = 10.0
    count: Annotated[int, Meta(ge=1, description="a whole number of samples, 1 or more")] | None = None
    seed: Annotated[int, Meta(ge=0, description="a whole number, 0 or more")] | None = None


def main(settings: FeaturesSettings) -> Awaitable[None]:
    """Load the data, then publish samples of it."""
    return publish_all(Samples(load(settings), settings), settings)


async def publish_all(samples: "Samples", settings: FeaturesSettings) -> None:
    await stay_connected("features", settings, (FEATURES, Y_TRUE), partial(stream, samples))
    log.info("published all samples: %d", samples.drawn)


async def stream(samples: "Samples", broker: Broker) -> None:
    """The flow of this service: wait, draw, publish; until COUNT samples are confirmed."""
    while samples.unconfirmed or samples.drawn != samples.count:
        if not samples.unconfirmed:
            await asyncio.sleep(samples.seconds_to_next())
            samples.draw()
        await broker.publish(samples.unconfirmed)
        samples.forget_confirmed()
        if 2 * samples.drawn >= samples.look_due:  # messages, of which a sample has two
            limit = await broker.wait_for_room((FEATURES, Y_TRUE, Y_PRED), samples.largest)
            samples.look_due = 2 * samples.drawn + min(LOOK_EVERY, limit)


class Samples:
    """Draws samples as messages, and keeps them until they are confirmed."""

    def __init__(self, dataset: Dataset, settings: FeaturesSettings) -> None:
        streamed = held_out(len(dataset.y))
        self.vectors = [Raw(msgspec.json.encode(vector)) for vector in dataset.X[streamed].to_numpy().tolist()]
        self.labels = dataset.y[streamed].tolist()
        self.largest = max(len(vector) for vector in self.vectors)
        self.batch = max(1, min(BATCH, BATCH_BYTES // self.largest))
        self.random = None if settings.seed is None else random.Random(settings.seed)
        self.interval, self.count = settings.interval, settings.count
        self.drawn, self.last_id, self.look_due = 0, 0.0, 0
        self.due = time.monotonic()
        self.progress_due = self.due + PROGRESS
        self.unconfirmed: list[Outgoing] = []

    def draw(self) -> list[Outgoing]:
        """The two messages of each sample that is due; none when there were COUNT."""
        n = self.batch
        if self.interval:
            now = time.monotonic()
            self.due = max(self.due, now - BURST)
            n = int(min(n, 1 + max(0.0, (now - self.due) / self.interval)))
            self.due += n * self.interval
        if self.count:
            n = min(n, self.count - self.drawn)
        for _ in range(n):
            self.last_id = next_id(self.last_id, time.time())
            row = self.random.randrange(len(self.labels)) if self.random else row_of(self.last_id, len(self.labels))
            sample_id = Raw(msgspec.json.encode(self.last_id))
            self.unconfirmed.append(Outgoing(FEATURES, encode(sample_id, self.vectors[row])))
            self.unconfirmed.append(Outgoing(Y_TRUE, encode(sample_id, self.labels[row])))
        self.drawn += n
        return self.unconfirmed

    def forget_confirmed(self) -> None:
        self.unconfirmed = []
        if self.count and time.monotonic() > self.progress_due:
            log.info("%d of %d samples", self.drawn, self.count)
            self.progress_due = time.monotonic() + PROGRESS

    def seconds_to_next(self) -> float:
        return max(0.0, self.due - time.monotonic())


def next_id(last: float, now: float) -> float:
    """The time `now` in seconds, to the microsecond, or just after `last` if the clock did not move on."""
    return max(round(now, 6), round(last + 1e-6, 6))


if __name__ == "__main__":
    run("features", FeaturesSettings, main)
