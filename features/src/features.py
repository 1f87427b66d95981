"""features: draws random held-out rows of a dataset and publishes them as samples.

Publishes, under one id, the feature vector to `features` ({"id": seconds, "body": [number, ...]}) and the true
value to `y_true` ({"id": seconds, "body": number}). The id is the Unix time in seconds, strictly increasing.

Promise: a sample is done when the broker has confirmed both messages. What it has not confirmed is published
again, under the same id, whatever happened to the connection in between.
"""

import itertools
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
import numpy as np
import pika
from msgspec import Meta

SERVICE = "features"
RETRY = 1.0  # seconds until the next try of what the broker did not take
TICK = 0.5  # seconds between two looks at the stop flag; a stop may take 2 s
PATIENCE = 15.0  # seconds without a confirm that is due, after which the connection is given up
WINDOW = 2000  # messages unconfirmed at most: enough to keep the broker busy, and a bound on memory
HELD_OUT = 4  # rows 0, 4, 8, ... of the dataset are streamed; train.py fits on the others

log = logging.getLogger(SERVICE)
C = TypeVar("C", bound="Config")


class Config(msgspec.Struct):
    """The environment variables, their defaults and what they take."""

    AMQP_URL: Annotated[str, Meta(pattern="^amqps?://")] = "amqp://guest:guest@rabbitmq:5672/%2F"
    AMQP_EXCHANGE: str = ""  # published to, with the queue's name as the key; empty: the default exchange
    INTERVAL: Annotated[float, Meta(ge=0, le=1e9)] = 10.0  # seconds; 0: as fast as the broker confirms
    COUNT: Annotated[int, Meta(ge=1)] | None = None  # samples, then exit 0
    SEED: Annotated[int, Meta(ge=0)] | None = None
    DATASET: str = ""  # path of a CSV with a header; empty: scikit-learn's diabetes data
    TARGET: str = ""  # its label column; empty: the last
    LOG_LEVEL: Annotated[str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


class Sample(msgspec.Struct):
    """A message: the feature vector, or the true value, under the sample's id."""

    id: float
    body: list[float] | float


def fail(reason: str) -> NoReturn:
    """End the service: one line for the operator (without the password of a URL), exit code 2."""
    reason = re.sub(r"(//[^:@\s]*):[^\s']*@", r"\1:***@", " ".join(reason.split()))
    print(f"{SERVICE}: {reason}", file=sys.stderr)
    raise SystemExit(2)


def configure(kind: type[C]) -> C:
    """Read the environment, where an empty variable counts as not set; a bad one ends the service."""
    try:
        config = msgspec.convert({name: text for name, text in os.environ.items() if text}, kind, strict=False)
    except msgspec.ValidationError as error:
        takes, _, name = str(error).partition(" - at `$.")
        fail(f"{name[:-1]}={os.environ[name[:-1]]!r}: {takes}")
    logging.basicConfig(level=config.LOG_LEVEL, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs tracebacks for what we heal and tell in a line
    return config


class Outgoing(NamedTuple):
    """A message to publish; `source` is the delivery tag of the message that it answers, if any."""

    queue: str
    body: bytes
    source: int = 0
    headers: dict[str, str] | None = None


class BrokerConnection(pika.SelectConnection):
    """Sends what a turn of the loop has to say in one piece, where pika sends each message in three: half the work."""

    unsent: bytes | bytearray = b""

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self.unsent:
            self.unsent = bytearray()
            self.ioloop.call_later(0, self.send)
        self.unsent += data

    def send(self) -> None:
        data, self.unsent = bytes(self.unsent), b""
        if self._transport:  # and not closed in the meantime
            super()._adapter_emit_data(data)


class Client:
    """One connection after another to the first of AMQP_URL that answers, until SIGTERM.

    A message counts as published once the broker has confirmed it; until then it is kept. The same text in
    features.py, model.py and metric.py.
    """

    queues: tuple[str, ...]  # declared where they are missing

    def __init__(self, config: Any) -> None:
        """From here on SIGTERM and SIGINT set a flag, which `tick` looks at."""
        self.config = config
        self.stopping = self.ready = self.outage = self.blocked = self.refusing = False
        self.unconfirmed: dict[int, Outgoing] = {}  # by the number under which the broker confirms them
        self.refused: list[Outgoing] = []  # by the broker, to be published again
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)

    def stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> None:
        for url in itertools.cycle(self.config.AMQP_URL.split(",")):
            if self.stopping:
                return
            try:
                parameters = pika.URLParameters(url)
            except (ValueError, TypeError):
                fail(f"AMQP_URL={url!r}: takes amqp://user:password@host:port/vhost, special characters %-encoded")
            parameters.client_properties = {"connection_name": SERVICE}
            parameters.socket_timeout, parameters.stack_timeout = 5, 10  # seconds for TCP, for all of the opening
            parameters.heartbeat = 10  # seconds: a half-open connection is noticed within 25
            self.broker = f"{parameters.host}:{parameters.port}"
            self.connection = BrokerConnection(parameters, self.on_open, self.on_closed, self.on_closed)
            self.loop = self.connection.ioloop
            self.loop.call_later(0, self.tick)
            try:
                self.loop.start()
            except ValueError as error:  # pika's, where a connection is gone again before it is set up
                if self.ready:
                    raise
                self.on_closed(None, error)
                self.loop.start()
            self.loop.close()

    def tick(self) -> None:
        if not self.stopping:
            self.loop.call_later(TICK, self.tick)
            if self.blocked or not self.unconfirmed:
                self.heard = time.monotonic()
            if self.ready and time.monotonic() - self.heard > PATIENCE:  # a queue deleted under load can do that
                self.disconnect("the broker confirms nothing")
            elif self.ready:
                self.on_tick()
        elif self.connection.is_open:
            self.connection.close()
            self.loop.call_later(TICK, self.loop.stop)  # for the case that the broker does not answer
        else:
            self.loop.stop()

    def on_tick(self) -> None:
        """Say until when to believe that this service is healthy: its health check reads the file's time."""
        alive = Path(tempfile.gettempdir(), f"{SERVICE}.alive")
        alive.touch()
        os.utime(alive, (time.time() + 10,) * 2)

    def on_closed(self, _: object, error: BaseException) -> None:
        """The connection ended or could not be opened: end its loop, after a wait, and so begin the next."""
        self.ready = self.blocked = False
        causes: list[Any] = [error]
        while causes:  # pika wraps what happened in what it was doing, in three ways
            error = causes[-1]
            causes = [*error.args, *getattr(error, "exceptions", []), getattr(error, "exception", None)]
            causes = [cause for cause in causes if isinstance(cause, BaseException)]
        if "(403)" in str(error) or ("(530)" in str(error) and "limit" not in str(error)):
            fail(f"{self.broker} refuses us, check user, password and vhost in AMQP_URL: {error}")
        if not self.outage and not self.stopping:
            log.warning("no connection to %s: %s; trying again every second", self.broker, error)
        self.outage = True
        self.loop.call_later(0 if self.stopping else RETRY, self.loop.stop)

    def on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self.on_blocked)
        connection.add_on_connection_unblocked_callback(self.on_unblocked)
        self.undeclared = list(self.queues)
        self.open_channel()

    def on_blocked(self, _: object, frame: Any) -> None:
        self.blocked = True
        log.warning("the broker blocks publishing (%s), waiting", frame.method.reason)

    def on_unblocked(self, *_: object) -> None:
        self.blocked = False
        log.info("the broker takes messages again")

    def open_channel(self) -> None:
        self.connection.channel(on_open_callback=self.on_channel_open)

    def on_channel_open(self, channel: Any) -> None:
        self.channel = channel
        channel.add_on_close_callback(self.on_channel_closed)
        self.declare()

    def declare(self, _: object = None) -> None:
        """Declare one queue after the other. The broker drops nothing by itself, however often it came back."""
        if self.undeclared:
            arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}
            self.channel.queue_declare(self.undeclared.pop(), durable=True, arguments=arguments, callback=self.declare)
        else:
            self.on_ready()

    def on_channel_closed(self, _: object, reason: Any) -> None:
        """Also the answer to declaring a queue that is there with other arguments, or is not ours to declare."""
        if not self.ready and getattr(reason, "reply_code", 0) in (403, 406):
            self.open_channel()
        else:
            self.disconnect(str(reason))

    def on_ready(self) -> None:
        log.info("connected to %s", self.broker)
        self.ready, self.outage, self.published, self.heard = True, False, 0, time.monotonic()
        self.channel.confirm_delivery(self.on_confirm)
        self.channel.add_on_return_callback(lambda *_: self.disconnect("a queue is missing"))
        unconfirmed, self.unconfirmed, self.refused = [*self.unconfirmed.values(), *self.refused], {}, []
        self.start(unconfirmed)

    def start(self, unconfirmed: list[Outgoing]) -> None:
        """Begin on a new connection, of which nothing is confirmed yet."""
        raise NotImplementedError

    def disconnect(self, reason: str) -> None:
        self.ready = False
        if self.connection.is_open:
            self.connection.close(reply_text=reason)

    def publish(self, messages: Iterable[Outgoing]) -> None:
        exchange = self.config.AMQP_EXCHANGE
        for message in messages:
            properties = pika.BasicProperties(delivery_mode=2, headers=message.headers)  # 2: persistent
            self.channel.basic_publish(exchange, message.queue, message.body, properties, mandatory=True)
            self.published += 1
            self.unconfirmed[self.published] = message

    def on_confirm(self, frame: Any) -> None:
        """Take the confirmed messages off the list; publish the refused ones again, a little later."""
        if not self.channel.is_open:
            return  # a message that was returned, since its queue is missing, is confirmed as well
        self.heard = time.monotonic()
        last = frame.method.delivery_tag
        tags = itertools.takewhile(last.__ge__, self.unconfirmed) if frame.method.multiple else [last]
        messages = [self.unconfirmed.pop(tag) for tag in list(tags)]
        if isinstance(frame.method, pika.spec.Basic.Ack):
            self.refusing = False
            self.on_confirmed(messages)
        else:
            if not self.refusing:
                log.warning("the broker refuses messages for %s; trying again every second", messages[0].queue)
            self.refusing = True
            self.refused += messages
            self.loop.call_later(RETRY, self.publish_refused)

    def publish_refused(self) -> None:
        if self.channel.is_open:
            messages, self.refused = self.refused, []
            self.publish(messages)

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        """These are safe with the broker."""
        raise NotImplementedError


def next_id(last: float, now: float) -> float:
    """The time `now` in seconds, to the microsecond, or just after `last` if the clock did not move on."""
    return max(round(now, 6), round(last + 1e-6, 6))


def load(dataset: str, target: str) -> tuple[Any, Any]:
    """Features (n, d) and labels (n,) of a CSV, as DataFrame and Series; bad ones end the service.

    The default is scikit-learn's diabetes data: a row a patient, the features scaled, the label the progression of
    the disease after a year.

    The same text in features.py and train.py.
    """
    import pandas as pd

    if not dataset:
        from sklearn.datasets import load_diabetes

        frame = load_diabetes(as_frame=True).frame
    else:
        try:
            frame = pd.read_csv(dataset)
        except (OSError, ValueError) as error:
            fail(f"DATASET={dataset!r}: takes a readable CSV with a header; {error}")
    target = target or frame.columns[-1]
    if target not in frame.columns:
        fail(f"TARGET={target!r}: takes one of the columns {', '.join(frame.columns)}")
    if len(frame) < 2 or len(frame.columns) < 2:
        fail(f"DATASET={dataset!r}: takes two rows and two columns at least, not {len(frame)} and {len(frame.columns)}")
    for name in frame.columns:
        bad = ~np.isfinite(pd.to_numeric(frame[name], errors="coerce"))
        if bad.any():
            row = int(bad.argmax())
            value = frame[name][row]
            fail(f"DATASET={dataset!r}: takes numbers only; data row {row + 1} of column {name!r} has '{value}'")
    return frame.drop(columns=target).astype(float), frame[target].astype(float)


class Features(Client):
    """Publishes samples at an interval, or as fast as the broker confirms them."""

    queues = ("features", "y_true")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        X, y = load(config.DATASET, config.TARGET)
        self.X: list[list[float]] = X[::HELD_OUT].to_numpy().tolist()
        self.y: list[float] = y[::HELD_OUT].tolist()
        self.random = np.random.default_rng(config.SEED)
        self.drawn, self.due, self.last_id, self.progress_due = 0, 0.0, 0.0, time.monotonic() + 10

    def start(self, unconfirmed: list[Outgoing]) -> None:
        self.publish(unconfirmed)
        self.loop.call_later(max(0.0, self.due - time.monotonic()), self.draw)

    def draw(self) -> None:
        """Publish the next sample, without an interval as many as there is room for."""
        if not self.channel.is_open:
            return  # the next connection draws
        while self.drawn != self.config.COUNT and len(self.unconfirmed) < WINDOW and not self.stopping:
            row = self.random.integers(len(self.y))
            self.last_id = next_id(self.last_id, time.time())
            self.drawn += 1
            for queue, body in ("features", self.X[row]), ("y_true", self.y[row]):
                self.publish([Outgoing(queue, msgspec.json.encode(Sample(self.last_id, body)))])
            if self.config.INTERVAL:
                break
        if self.config.INTERVAL:
            self.due = time.monotonic() + self.config.INTERVAL
            self.loop.call_later(self.config.INTERVAL, self.draw)

    def on_tick(self) -> None:
        """Show a person who waits for COUNT samples that it moves."""
        super().on_tick()
        if self.config.COUNT and time.monotonic() > self.progress_due:
            self.progress_due = time.monotonic() + 10
            log.info("%d of %d samples", self.drawn - len(self.unconfirmed) // 2, self.config.COUNT)

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        if self.drawn == self.config.COUNT and not self.unconfirmed and not self.refused:
            log.info("published %d samples, as many as asked for", self.drawn)
            self.stop()
        elif not self.config.INTERVAL:
            self.draw()


def main() -> None:
    Features(configure(Config)).run()


if __name__ == "__main__":
    main()
