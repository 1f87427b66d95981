"""Knows what must come out: publishes samples and bad messages itself, and counts what the broker confirmed.

Shares no code with the services. A sample goes one of two ways: as a vector to `features` and its label to `y_true`,
where the model is `faulty_models.SumOfThree`, or as both halves at once. All of its numbers are small whole
numbers and quarters, so that sums and errors are exact.
"""

from __future__ import annotations

from harness import QUEUES, eventually

import heapq
import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pika
from pika.exceptions import AMQPError

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}
PERSISTENT = pika.BasicProperties(delivery_mode=2)
FIRST_ID = 1_000_000_000.0  # a time long ago: features itself uses later ones
FEATURES_ERROR = 0.5  # absolute error of every sample that features draws from `dataset`

# What is not a message, whichever queue it comes in by. %d makes it one of a kind.
BAD_ANYWHERE = {
    "not JSON": b"no json %d",
    "array": b"[%d, 2]",
    "missing id": b'{"body": %d}',
    "id null": b'{"id": null, "body": %d}',
    "id boolean": b'{"id": true, "body": %d}',
    "id string": b'{"id": "%d", "body": 1}',
    "id NaN": b'{"id": NaN, "body": %d}',
    "id 1e400": b'{"id": 1e400, "body": %d}',
    "missing body": b'{"id": %d}',
    "body null": b'{"id": %d, "body": null}',
    "body string": b'{"id": %d, "body": "1"}',
    "body object": b'{"id": %d, "body": {"a": 1}}',
    "duplicate key": b'{"id": %d, "body": 1, "body": 1}',
    "trailing bytes": b'{"id": %d, "body": 1} x',
    "invalid UTF-8": b'{"id": %d, "\xff\xfe": "\xff", "body": 1}',
    "formula": b'{"id": %d, "body": "=cmd()"}',
}
BAD_HALF = {"body NaN": b'{"id": %d, "body": NaN}', "body a list": b'{"id": %d, "body": [1.0]}'}
BAD_VECTOR = {"too few": b'{"id": %d, "body": [1]}', "nested": b'{"id": %d, "body": [[1, 2, 3]]}'}
ALONE = "its partner did not come"


class Message(NamedTuple):
    queue: str
    body: bytes
    contradicts: bytes = b""
    """The half that must be confirmed before this one goes out, so that it is the second for sure."""


class Sample(NamedTuple):
    """A row is due once both messages are confirmed."""

    id: float
    y_true: float
    y_pred: float
    messages: tuple[bytes, bytes]

    @property
    def line(self) -> str:
        return f"{self.id},{self.y_true},{self.y_pred},{abs(self.y_true - self.y_pred)}"


class Publisher(threading.Thread):
    """Publishes its own share of samples and bad messages, one after the other, and notes what the broker confirmed.

    What it publishes depends on the seed and on when it is told to stop. A message whose confirm does not come is not
    published again, as in Jepsen: it may be lost, and it may be there.
    """

    def __init__(self, url: str, seed: str, first: int, step: int, contradict: bool, transient: set[str]) -> None:
        super().__init__(daemon=True)
        self.url, self.random, self.numbers = url, random.Random(f"{seed} {first}"), range(first, 2**40, step)
        self.contradict, self.transient = contradict, transient
        self.stopping = threading.Event()
        self.going = threading.Event()  # cleared for a pause
        self.going.set()
        self.publishing = threading.Lock()  # held until the confirm is there
        self.extra: SimpleQueue[Message] = SimpleQueue()  # messages to publish next
        self.samples: list[Sample] = []
        self.letters: dict[bytes, str] = {}  # what must come to be among the dead letters, and by which queue it came
        self.contradictions: dict[bytes, tuple[bytes, Sample]] = {}  # the first label, and the sample with the second
        self.attempted: set[bytes] = set()
        self.acknowledged: set[bytes] = set()

    def run(self) -> None:
        channel: Any = None
        for queue, body, contradicts in self.messages():
            if contradicts and contradicts not in self.acknowledged:
                continue
            channel = channel or eventually(self.connect, "a connection to the broker")
            self.going.wait()
            with self.publishing:
                self.attempted.add(body)
                try:
                    channel.basic_publish(
                        "", queue, body, None if queue in self.transient else PERSISTENT, mandatory=True
                    )
                    self.acknowledged.add(body)
                except (AMQPError, OSError):
                    channel = None

    def connect(self) -> Any:
        with suppress(AMQPError, OSError):
            parameters = [pika.URLParameters(url) for url in self.url.split(",")]  # tried in turn
            channel = pika.BlockingConnection(parameters).channel()
            channel.confirm_delivery()
            return channel

    def messages(self) -> Iterator[Message]:
        """Until told to stop, and then what is still due."""
        due: list[tuple[float, int, Message]] = []
        tie = itertools.count()
        for now, number in enumerate(self.numbers):
            if self.stopping.is_set():
                break
            for delay, message in self.sample(number):
                heapq.heappush(due, (now + delay, next(tie), message))
            while due and due[0][0] <= now:
                yield heapq.heappop(due)[2]
            while not self.extra.empty():
                yield self.extra.get()
        while due:
            yield heapq.heappop(due)[2]

    def sample(self, number: int) -> Iterator[tuple[float, Message]]:
        """The messages of a sample, each with its delay in samples: halves late, repeated, contradicted, or never."""
        chance, sample_id = self.random.random, FIRST_ID + number / 4
        x = [float(self.random.randrange(100)) for _ in range(3)]
        y_true, y_pred = self.random.randrange(400) / 4, sum(x)
        halves = [Message("y_true", json.dumps({"id": sample_id, "body": y_true}).encode())]
        if chance() < 0.5:
            halves.append(Message("features", json.dumps({"id": sample_id, "body": x}).encode()))
        else:
            halves.append(Message("y_pred", json.dumps({"unit": "mg/dl", "body": y_pred, "id": sample_id}).encode()))
        if chance() < 0.02 and halves[1].queue != "features":
            alone = self.random.choice(halves)
            halves = [alone]
            self.letters[alone.body] = alone.queue
        else:
            self.samples.append(Sample(sample_id, y_true, y_pred, (halves[0].body, halves[1].body)))
        for half in halves:
            delay = self.delay()
            yield delay, half
            while chance() < 0.1:
                yield self.delay(), half
            if half.queue == "y_true" and chance() < 0.02 and self.contradict:  # of y_pred the first counts
                second = Message(
                    half.queue,
                    json.dumps({"id": sample_id, "body": -1 - number, "from": half.queue}).encode(),
                    half.body,
                )
                self.letters[second.body] = second.queue
                swapped = Sample(sample_id, -1.0 - number, y_pred, (second.body, halves[-1].body))
                self.contradictions[second.body] = (half.body, swapped)
                yield delay + self.delay(), second
        if chance() < 0.05:
            queue = self.random.choice(["features", "y_true", "y_pred"])
            bad = Message(queue, self.random.choice(list(bad_messages(queue).values())) % number)
            self.letters[bad.body] = queue
            yield self.delay(), bad

    def delay(self) -> float:
        return self.random.choice([0, self.random.expovariate(1 / 5), self.random.expovariate(1 / 200)])


def bad_messages(queue: str) -> dict[str, bytes]:
    return BAD_ANYWHERE | (BAD_VECTOR if queue == "features" else BAD_HALF)


@dataclass
class Tally:
    """As in Jepsen's checker for queues. Attempted messages that the broker did not confirm may be found or not."""

    attempted: int = 0
    acknowledged: int = 0
    lost: set[Any] = field(default_factory=set)  # acknowledged, not found
    duplicated: Counter[Any] = field(default_factory=Counter)  # found more often than once: how many times more
    unexpected: set[Any] = field(default_factory=set)  # found, never attempted
    recovered: set[Any] = field(default_factory=set)  # found, attempted, not acknowledged

    @classmethod
    def of(cls, attempted: set[Any], acknowledged: set[Any], found: Iterable[Any]) -> Tally:
        times = Counter(found)
        return cls(
            attempted=len(attempted),
            acknowledged=len(acknowledged),
            lost=acknowledged - times.keys(),
            duplicated=times - Counter(times.keys()),
            unexpected=times.keys() - attempted,
            recovered=(attempted - acknowledged) & times.keys(),
        )

    def __str__(self) -> str:
        sets = (self.lost, list(self.duplicated.elements()), self.unexpected, self.recovered)
        return " | ".join(f"{n:,}" for n in (self.attempted, self.acknowledged, *map(len, sets)))


class Oracle:
    """Some publishers, and what must have come of all that they published.

    Without `contradict` no two halves differ under one id: where a node of a cluster dies, what its consumers held
    comes again after what came since, and so the second of the two may be the first to arrive.
    `transient`: the queues whose messages need no delivery mode to outlive a broker.
    """

    def __init__(
        self, url: str, seed: int, publishers: int = 8, contradict: bool = True, transient: set[str] | None = None
    ) -> None:
        self.swapped: dict[bytes, bytes] = {}  # the first of two labels, where the second counted, and that one
        transient = set(QUEUES) if transient is None else transient
        self.publishers = [Publisher(url, f"{seed}", n, publishers, contradict, transient) for n in range(publishers)]
        for publisher in self.publishers:
            publisher.start()

    @property
    def acknowledged(self) -> int:
        return sum(len(publisher.acknowledged) for publisher in self.publishers)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile nothing is published, and what was is confirmed or given up."""
        with ExitStack() as stack:
            for publisher in self.publishers:
                publisher.going.clear()
                stack.callback(publisher.going.set)
            for publisher in self.publishers:
                stack.enter_context(publisher.publishing)
            yield

    def publish_large(self, queue: str, size: int) -> None:
        """A message of `size` bytes and a little more, which must become a dead letter."""
        publisher = self.publishers[size % len(self.publishers)]
        body = b'{"id": %d, "body": "%s"}' % (size, b"x" * size)
        publisher.letters[body] = queue
        publisher.extra.put(Message(queue, body))

    def stop(self) -> None:
        """Return when all that was begun is published."""
        for publisher in self.publishers:
            publisher.stopping.set()
        for publisher in self.publishers:
            publisher.join()

    def rows(self, *texts: str) -> tuple[Tally, int]:
        """What became of the samples, given all CSVs, and how many more rows are good ones of features."""
        lines = list[str]()
        for text in texts:
            header, *more = text.split("\n")
            assert header == "id,y_true,y_pred,absolute_error"
            assert more.pop() == "", "a CSV ends in the middle of a line"
            lines += more
        attempted, acknowledged = set(), set()
        for publisher in self.publishers:
            for sample in publisher.samples:
                if publisher.attempted.issuperset(sample.messages):
                    attempted.add(sample.line)
                if publisher.acknowledged.issuperset(sample.messages):
                    acknowledged.add(sample.line)
        lines = self.in_published_order(lines)
        drawn = {line for line in lines if line not in attempted and is_of_features(line)}
        twice = [line for line, times in Counter(lines).items() if line in drawn and times > 1]
        return Tally.of(attempted, acknowledged, [line for line in lines if line not in drawn] + twice * 2), len(drawn)

    def in_published_order(self, lines: list[str]) -> list[str]:
        """The lines, as if the first of two labels had counted wherever the second has.

        RabbitMQ 3.10 gives back what a dead consumer held in no order, so after a SIGKILL the second may arrive first.
        """
        numbers = {line: n for n, line in enumerate(lines)}
        for publisher in self.publishers:
            samples = {sample.id: sample for sample in publisher.samples}
            for second, (first, swapped) in publisher.contradictions.items():
                if swapped.line in numbers and swapped.id in samples:
                    lines[numbers[swapped.line]] = samples[swapped.id].line
                    self.swapped[first] = second
        return lines

    def dead_letters(self, found: list[tuple[bytes, dict[str, Any]]]) -> tuple[Tally, int]:
        """What became of the bad messages, and how many halves more are there whose other half is known to be missing.

        Those are the halves of samples that features or a publisher could not finish.
        """
        attempted, acknowledged, unfinished = set(), set(), set()
        for publisher in self.publishers:
            attempted |= publisher.attempted & publisher.letters.keys()
            acknowledged |= publisher.acknowledged & publisher.letters.keys()
            unfinished |= {s.id for s in publisher.samples if not publisher.acknowledged.issuperset(s.messages)}
        queues = {body: queue for publisher in self.publishers for body, queue in publisher.letters.items()}
        seen, halves = [], set()
        for body, headers in found:
            if "already" in headers["reason"]:
                body = self.swapped.get(body, body)
            good = headers["reason"] and headers["service"] == ("model" if headers["queue"] == "features" else "metric")
            if good and headers["queue"] == queues.get(body):
                seen.append(body)
            elif good and ALONE in headers["reason"] and is_unfinished(json.loads(body)["id"], unfinished):
                halves.add(body)
            else:
                seen.append(b"%r: %r" % (headers, body))  # not attempted, so unexpected
        return Tally.of(attempted, acknowledged, seen), len(halves)


def is_of_features(line: str) -> bool:
    sample_id, y_true, y_pred, error = (float(number) for number in line.split(","))
    return sample_id > 1.5 * FIRST_ID and y_true - y_pred == error == FEATURES_ERROR


def is_unfinished(sample_id: float, unfinished: set[float]) -> bool:
    return sample_id > 1.5 * FIRST_ID or sample_id in unfinished


def table(rows: Tally, letters: Tally) -> str:
    return "\n".join(
        [
            "| | attempted | acknowledged | lost | duplicated | unexpected | recovered |",
            "|---|---:|---:|---:|---:|---:|---:|",
            f"| rows | {rows} |",
            f"| dead letters | {letters} |",
        ]
    )


def dataset(path: Path) -> Path:
    """A dataset for features: what the model answers, the sum, is wrong by FEATURES_ERROR each time."""
    rows = [(n, n % 7, -(n % 5)) for n in range(100)]
    path.write_text("a,b,c,y\n" + "".join(f"{a},{b},{c},{a + b + c + FEATURES_ERROR}\n" for a, b, c in rows))
    return path
