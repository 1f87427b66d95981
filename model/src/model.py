"""model: answers each feature vector with the prediction of a pre-trained scikit-learn regressor.

Consumes `features` ({"id": seconds, "body": [number, ...]}), publishes `y_pred` ({"id": seconds, "body": number}).

Promise: a vector is acknowledged when the broker has confirmed its answer: the prediction, or the vector itself in
`dead_letters` with the reason. A kill in between repeats the answer, which metric knows how to drop.
"""

import hashlib
import itertools
import json
import logging
import math
import os
import pickle
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pika
from msgspec import Meta

SERVICE = "model"
RETRY = 1.0  # seconds until the next try of what the broker did not take
TICK = 0.25  # seconds between two looks at the stop flag; a stop may take 2 s
PREFETCH = 1000  # messages that a consumer holds unacknowledged at most, and so the largest batch
CAREFUL = 3  # returns to the queue after which a message is handled alone: it may be what kills the service
POISON = 10  # returns to the queue after which it goes to dead_letters
MAX_BODY = 2**20  # bytes of a message

log = logging.getLogger(SERVICE)
C = TypeVar("C", bound="Config")
M = TypeVar("M", bound="Message")


class Config(msgspec.Struct):
    """The environment variables, their defaults and what they take."""

    AMQP_URL: Annotated[str, Meta(pattern="^amqps?://")] = "amqp://guest:guest@rabbitmq:5672/%2F"
    MODEL_PATH: str = str(Path(__file__).with_name("myfile.pkl"))
    MODEL_SHA256: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")] | None = None  # empty: not checked
    DATASET: str = ""  # what features streams; if given, its columns must be those that the model was fitted on
    TARGET: str = ""
    LOG_LEVEL: Annotated[str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


class Message(msgspec.Struct):
    """What every message has: a Unix time in seconds that names the sample; other keys are ignored."""

    id: Annotated[float, Meta(gt=-(2**53), lt=2**53)]


class Vector(Message):
    body: list[float]


class Prediction(Message):
    body: float


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


class Client:
    """One connection after another to the first of AMQP_URL that answers, until SIGTERM.

    A message counts as published once the broker has confirmed it; until then it is kept. The same text in
    features.py, model.py and metric.py.
    """

    queues: tuple[str, ...]  # declared where they are missing

    def __init__(self, config: Any) -> None:
        """From here on SIGTERM and SIGINT set a flag, which `tick` looks at."""
        self.config = config
        self.stopping = self.ready = self.outage = False
        self.unconfirmed: dict[int, Outgoing] = {}  # by the number under which the broker confirms them
        self.refused: list[Outgoing] = []  # by the broker, to be published again
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)

    def stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> None:
        for url in itertools.cycle(self.config.AMQP_URL.split(",")):
            try:
                parameters = pika.URLParameters(url)
            except (ValueError, TypeError):
                fail(f"AMQP_URL={url!r}: takes amqp://user:password@host:port/vhost, special characters %-encoded")
            parameters.client_properties = {"connection_name": SERVICE}
            parameters.socket_timeout, parameters.stack_timeout = 5, 10  # seconds for TCP, for all of the opening
            parameters.heartbeat = 10  # seconds: a half-open connection is noticed within 25
            self.broker = f"{parameters.host}:{parameters.port}"
            self.connection = pika.SelectConnection(parameters, self.on_open, self.on_closed, self.on_closed)
            self.loop = self.connection.ioloop
            self.loop.call_later(0, self.tick)
            self.loop.start()
            self.loop.close()
            if self.stopping:
                return

    def tick(self) -> None:
        if not self.stopping:
            self.loop.call_later(TICK, self.tick)
            if self.ready:
                self.on_tick()
        elif self.connection.is_open:
            self.connection.close()
            self.loop.call_later(1, self.loop.stop)  # for the case that the broker does not answer
        else:
            self.loop.stop()

    def on_tick(self) -> None:
        """Say until when to believe that this service is healthy: its health check reads the file's time."""
        alive = Path(tempfile.gettempdir(), f"{SERVICE}.alive")
        alive.touch()
        os.utime(alive, (time.time() + 10,) * 2)

    def on_closed(self, _: object, error: BaseException) -> None:
        """The connection ended or could not be opened: end its loop, after a wait, and so begin the next."""
        self.ready = False
        causes: list[Any] = [error]
        while causes:  # pika wraps what happened in what it was doing, in three ways
            error = causes[-1]
            causes = [*error.args, *getattr(error, "exceptions", []), getattr(error, "exception", None)]
            causes = [cause for cause in causes if isinstance(cause, BaseException)]
        if "(403)" in str(error) or "(530)" in str(error):
            fail(f"{self.broker} refuses us, check user, password and vhost in AMQP_URL: {error}")
        if not self.outage and not self.stopping:
            log.warning("no connection to %s: %s; trying again every second", self.broker, error)
        self.outage = True
        self.loop.call_later(0 if self.stopping else RETRY, self.loop.stop)

    def on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(
            lambda _, frame: log.warning("the broker blocks publishing (%s), waiting", frame.method.reason)
        )
        connection.add_on_connection_unblocked_callback(lambda *_: log.info("the broker takes messages again"))
        self.undeclared = list(self.queues)
        self.open_channel()

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
        if not self.ready and reason.reply_code in (403, 406):
            self.open_channel()
        else:
            self.disconnect(str(reason))

    def on_ready(self) -> None:
        log.info("connected to %s", self.broker)
        self.ready, self.outage, self.published = True, False, 0
        self.channel.confirm_delivery(self.on_confirm)
        self.channel.add_on_return_callback(lambda *_: self.disconnect("a queue is missing"))
        unconfirmed, self.unconfirmed, self.refused = [*self.unconfirmed.values(), *self.refused], {}, []
        self.start(unconfirmed)

    def start(self, unconfirmed: list[Outgoing]) -> None:
        """Begin on a new connection, of which nothing is confirmed yet."""
        raise NotImplementedError

    def disconnect(self, reason: str) -> None:
        if self.connection.is_open:
            self.connection.close(reply_text=reason)

    def publish(self, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            properties = pika.BasicProperties(delivery_mode=2, headers=message.headers)  # 2: persistent
            self.channel.basic_publish("", message.queue, message.body, properties, mandatory=True)
            self.published += 1
            self.unconfirmed[self.published] = message

    def on_confirm(self, frame: Any) -> None:
        """Take the confirmed messages off the list; publish the refused ones again, a little later."""
        if not self.channel.is_open:
            return  # a message that was returned, since its queue is missing, is confirmed as well
        last = frame.method.delivery_tag
        tags = itertools.takewhile(last.__ge__, self.unconfirmed) if frame.method.multiple else [last]
        messages = [self.unconfirmed.pop(tag) for tag in list(tags)]
        if isinstance(frame.method, pika.spec.Basic.Ack):
            self.on_confirmed(messages)
        else:
            self.refused += messages
            self.loop.call_later(RETRY, self.publish_refused)

    def publish_refused(self) -> None:
        messages, self.refused = self.refused, []
        if self.channel.is_open:
            self.publish(messages)

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        """These are safe with the broker."""
        raise NotImplementedError


class Incoming(NamedTuple):
    """A message consumed; `returns` tells how often it went back to its queue unacknowledged."""

    queue: str
    body: bytes
    tag: int
    returns: int


def unique(pairs: list[tuple[str, Any]]) -> None:
    """JSON leaves open which of two equal keys counts, so a message with such is refused."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("Object has a key twice")


def parse(incoming: Incoming, kind: type[M]) -> M | str:
    """The message, or the reason why it is none."""
    if incoming.returns >= POISON:
        return f"came back {incoming.returns} times; does it kill the service?"
    if len(incoming.body) > MAX_BODY:
        return f"expected at most {MAX_BODY} bytes, got {len(incoming.body)}"
    try:
        message = msgspec.json.decode(incoming.body, type=kind)
        if incoming.body.count(b'"') > 4:  # more than the two keys: the rest is looked at as well
            json.loads(incoming.body, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        return str(error)
    return message


class Consumer(Client):
    """Takes messages in batches of what has arrived, and acknowledges each when what came of it is safe.

    The same text in model.py and metric.py.
    """

    sources: tuple[str, ...]  # the queues consumed

    def start(self, unconfirmed: list[Outgoing]) -> None:
        """What was not confirmed was not acknowledged either, so it comes again."""
        self.batch: list[Incoming] = []
        self.unsettled: dict[int, None] = {}  # delivery tags, in order
        self.delivered = self.acknowledged = 0
        self.channel.add_on_cancel_callback(lambda _: self.disconnect("a queue was deleted"))
        self.careful = {self.consume(queue, 1) for queue in self.sources}

    def consume(self, queue: str, prefetch: int) -> str:
        self.channel.basic_qos(prefetch_count=prefetch)
        return str(self.channel.basic_consume(queue, partial(self.on_message, queue)))

    def on_message(self, queue: str, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Add it to the batch. One at a time until a message comes that nobody died of."""
        count = (properties.headers or {}).get("x-delivery-count")  # the broker's, or whatever a producer wrote
        returns = count if isinstance(count, int) else 0
        if method.consumer_tag in self.careful and returns < CAREFUL:
            self.careful.discard(method.consumer_tag)
            channel.basic_cancel(method.consumer_tag)
            self.consume(queue, PREFETCH)
        self.delivered = method.delivery_tag
        self.unsettled[self.delivered] = None
        self.batch.append(Incoming(queue, body, self.delivered, returns))
        if len(self.batch) == 1:
            self.loop.call_later(0, self.flush)

    def flush(self) -> None:
        if self.channel.is_open:
            batch, self.batch = self.batch, []
            self.on_batch(batch)

    def on_batch(self, batch: list[Incoming]) -> None:
        raise NotImplementedError

    def refusal(self, incoming: Incoming, reason: str) -> Outgoing:
        """The message's own bytes, for a person to look at in `dead_letters`."""
        log.warning("refused a message of %s: %s", incoming.queue, reason)
        headers = {"reason": reason, "queue": incoming.queue, "service": SERVICE}
        return Outgoing("dead_letters", incoming.body, incoming.tag, headers)

    def settle(self, tags: Iterable[int]) -> None:
        """What came of these is safe: acknowledge all up to the first of which that is not so."""
        for tag in tags:
            del self.unsettled[tag]
        last = next(iter(self.unsettled), self.delivered + 1) - 1
        if last > self.acknowledged:
            self.channel.basic_ack(last, multiple=True)
            self.acknowledged = last


class BadModelError(Exception):
    """The model cannot be used; the text says why, and how to mend it."""


class Regressor:
    """A fitted scikit-learn regressor or pipeline, read from a pickle; raises BadModelError."""

    def __init__(self, path: str, sha256: str | None) -> None:
        from sklearn.exceptions import InconsistentVersionWarning

        hint = "model/src/train.py makes one that fits"
        try:
            pickled = Path(path).read_bytes()
        except OSError as error:
            raise BadModelError(f"MODEL_PATH={path!r}: {error.strerror}; {hint}") from error
        digest = hashlib.sha256(pickled).hexdigest()
        if sha256 and digest != sha256.lower():
            raise BadModelError(f"MODEL_SHA256={sha256!r}: {path} has {digest}; it is not loaded")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", InconsistentVersionWarning)
                self.model = pickle.loads(pickled)
        except Exception as error:  # a broken pickle raises almost anything
            raise BadModelError(f"MODEL_PATH={path!r}: cannot be loaded: {error}; {hint}") from error
        kind = type(self.model).__name__
        if not hasattr(self.model, "predict"):
            raise BadModelError(f"MODEL_PATH={path!r}: a {kind} has no predict; {hint}")
        if np.asarray(getattr(self.model, "classes_", 0)).dtype.kind not in "biuf":
            raise BadModelError(
                f"MODEL_PATH={path!r}: this {kind} answers with {self.model.classes_}, not with numbers"
            )
        self.n_features: int | None = getattr(self.model, "n_features_in_", None)
        self.names: Any = getattr(self.model, "feature_names_in_", None)  # where it was fitted on named columns

    def check_columns(self, dataset: str, target: str) -> None:
        try:
            columns = list(pd.read_csv(dataset, nrows=0).columns)
        except (OSError, ValueError) as error:
            raise BadModelError(f"DATASET={dataset!r}: takes a readable CSV with a header; {error}") from error
        columns.remove(target if target in columns else columns[-1])
        fitted = columns if self.names is None else list(self.names)
        if columns != fitted or self.n_features not in (None, len(columns)):
            what = f"{self.n_features} features" if self.names is None else f"the columns {', '.join(fitted)}"
            raise BadModelError(f"DATASET={dataset!r}: the model was fitted on {what}, not on {', '.join(columns)}")

    def check(self, vector: Vector) -> Vector | str:
        if self.n_features in (None, len(vector.body)):
            return vector
        return f"expected {self.n_features} features, got {len(vector.body)}"

    def predict(self, vectors: list[list[float]]) -> list[float | str]:
        """One prediction for each of n vectors of d features, or the reason why there is none."""
        if not vectors:
            return []
        try:
            X = np.array(vectors) if self.names is None else pd.DataFrame(vectors, columns=self.names)
            predictions = np.asarray(self.model.predict(X), float).reshape(len(vectors)).tolist()
        except Exception as error:  # one bad vector fails the whole batch: find it
            if len(vectors) == 1:
                return [f"the model failed: {error}"]
            return [prediction for vector in vectors for prediction in self.predict([vector])]
        return [y if math.isfinite(y) else f"the model answered {y}" for y in predictions]


def identify(path: str) -> tuple[int, ...]:
    """Which file this is, and of when: it differs when the file was replaced."""
    try:
        stat = os.stat(path)
    except OSError:
        return ()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


class Model(Consumer):
    """Answers every vector with one message: its prediction, or the vector itself among the dead letters."""

    queues = ("features", "y_pred", "dead_letters")
    sources = ("features",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.loaded = self.seen = identify(config.MODEL_PATH)
        try:
            self.regressor = Regressor(config.MODEL_PATH, config.MODEL_SHA256)
            if config.DATASET:
                self.regressor.check_columns(config.DATASET, config.TARGET)
        except BadModelError as error:
            fail(str(error))

    def on_tick(self) -> None:
        """Take a new model when its file has been replaced and has stayed the same since the last look."""
        super().on_tick()
        seen, self.seen = self.seen, identify(self.config.MODEL_PATH)
        if self.seen == seen != self.loaded:
            self.loaded = seen
            try:
                self.regressor = Regressor(self.config.MODEL_PATH, self.config.MODEL_SHA256)
                log.info("took the new model in %s", self.config.MODEL_PATH)
            except BadModelError as error:
                log.error("%s; the old model goes on", error)

    def on_batch(self, batch: list[Incoming]) -> None:
        parsed = [parse(incoming, Vector) for incoming in batch]
        vectors = [self.regressor.check(vector) if isinstance(vector, Vector) else vector for vector in parsed]
        answers = iter(self.regressor.predict([vector.body for vector in vectors if isinstance(vector, Vector)]))
        for incoming, vector in zip(batch, vectors, strict=True):
            answer = next(answers) if isinstance(vector, Vector) else vector
            if isinstance(vector, Vector) and isinstance(answer, float):
                body = msgspec.json.encode(Prediction(vector.id, answer))
                self.publish([Outgoing("y_pred", body, incoming.tag)])
            else:
                self.publish([self.refusal(incoming, str(answer))])

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        self.settle(message.source for message in messages)


def main() -> None:
    Model(configure(Config)).run()


if __name__ == "__main__":
    main()
