"""model: answers each feature vector with the prediction of a pre-trained scikit-learn regressor.

Consumes `features` ({"id": seconds, "body": [number, ...]}), publishes `y_pred` ({"id": seconds, "body": number}).

Promise: a vector is acknowledged when the broker has confirmed its answer: the prediction, or the vector itself in
`dead_letters` with the reason. A kill in between repeats the answer, which metric knows how to drop. The model runs in
a process of its own, so that a slow vector does not cost the connection, nor a deadly one the service.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pika
from msgspec import Meta

SERVICE = "model"
RETRY = 1.0  # seconds until the next try of what the broker did not take
TICK = 0.5  # seconds between two looks at the stop flag; a stop may take 2 s
PATIENCE = 15.0  # seconds without a confirm that is due, after which the connection is given up
PREFETCH = 1000  # messages that a consumer holds unacknowledged at most, and so the largest batch
MAX_BODY = 2**20  # bytes of a message
DEATHS = 3  # of the model's process, alone with one vector, before that is taken for the cause

log = logging.getLogger(SERVICE)
C = TypeVar("C", bound="Config")
M = TypeVar("M", bound="Message")


class Config(msgspec.Struct):
    """The environment variables, their defaults and what they take."""

    AMQP_URL: Annotated[str, Meta(pattern="^amqps?://")] = "amqp://guest:guest@rabbitmq:5672/%2F"
    AMQP_EXCHANGE: str = ""  # published to, with the queue's name as the key; empty: the default exchange
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


class Incoming(NamedTuple):
    """A message consumed."""

    queue: str
    body: bytes
    tag: int


def unique(pairs: list[tuple[str, Any]]) -> None:
    """JSON leaves open which of two equal keys counts, so a message with such is refused."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("Object has a key twice")


def parse(body: bytes, kind: type[M]) -> M | str:
    """The message, or the reason why it is none."""
    if len(body) > MAX_BODY:
        return f"expected at most {MAX_BODY} bytes, got {len(body)}"
    try:
        message = msgspec.json.decode(body, type=kind)
        if body.count(b'"') > 4:  # more than the two keys: the rest is looked at as well
            json.loads(body, object_pairs_hook=unique)
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
        self.channel.basic_qos(prefetch_count=PREFETCH)
        for queue in self.sources:
            self.channel.basic_consume(queue, partial(self.on_message, queue))

    def on_message(self, queue: str, _: object, method: Any, properties: object, body: bytes) -> None:
        """Collect what arrives in one go."""
        self.delivered = method.delivery_tag
        self.unsettled[self.delivered] = None
        self.batch.append(Incoming(queue, body, self.delivered))
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
        reason = reason[:500].encode(errors="replace").decode()  # a header takes no more than a frame, and only UTF-8
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

    def __init__(self, config: Config) -> None:
        from sklearn.exceptions import InconsistentVersionWarning

        path, hint = config.MODEL_PATH, "model/src/train.py makes one that fits"
        try:
            pickled = Path(path).read_bytes()
        except OSError as error:
            raise BadModelError(f"MODEL_PATH={path!r}: {error.strerror}; {hint}") from error
        digest = hashlib.sha256(pickled).hexdigest()
        if config.MODEL_SHA256 and digest != config.MODEL_SHA256.lower():
            raise BadModelError(f"MODEL_SHA256={config.MODEL_SHA256!r}: {path} has {digest}; it is not loaded")
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
            raise BadModelError(f"MODEL_PATH={path!r}: this {kind} answers {self.model.classes_}, not numbers")
        self.n_features: int | None = getattr(self.model, "n_features_in_", None)
        self.names: Any = getattr(self.model, "feature_names_in_", None)  # where it was fitted on named columns
        if config.DATASET:
            self.check_columns(config.DATASET, config.TARGET)

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

    def predict(self, vectors: list[list[float]]) -> list[float | str]:
        """One prediction for each of n vectors of d features, or the reason why there is none."""
        try:
            X = np.array(vectors) if self.names is None else pd.DataFrame(vectors, columns=self.names)
            predictions = np.asarray(self.model.predict(X), float).reshape(len(vectors)).tolist()
        except Exception as error:  # one bad vector fails the whole batch: find it
            if len(vectors) == 1:
                return [f"the model failed: {error}"]
            middle = len(vectors) // 2
            return self.predict(vectors[:middle]) + self.predict(vectors[middle:])
        return [y if math.isfinite(y) else f"the model answered {y}" for y in predictions]

    def answer(self, bodies: list[bytes]) -> list[bytes | str]:
        """For each message of `features` the one for `y_pred`, or the reason why there is none."""
        answers: list[Any] = [parse(body, Vector) for body in bodies]
        for i, vector in enumerate(answers):
            if isinstance(vector, Vector) and self.n_features not in (None, len(vector.body)):
                answers[i] = f"expected {self.n_features} features, got {len(vector.body)}"
        valid = [i for i, vector in enumerate(answers) if isinstance(vector, Vector)]
        predictions = self.predict([answers[i].body for i in valid]) if valid else []
        for i, y in zip(valid, predictions, strict=True):
            answers[i] = y if isinstance(y, str) else msgspec.json.encode(Prediction(answers[i].id, y))
        return answers


def serve(config: Config, connection: Connection) -> None:
    """What the worker does: say that the model is loaded ("") or why not, then answer batches until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    with contextlib.suppress(EOFError, OSError):  # of the connection, when the parent has ended
        try:
            regressor = Regressor(config)
        except BadModelError as error:
            connection.send(str(error))
            return
        connection.send("")
        while True:
            connection.send(regressor.answer(connection.recv()))


class Worker:
    """A process that holds the model: a vector may kill it, or keep it busy, without harm to the connection."""

    def __init__(self) -> None:
        self.connection, other = Pipe()
        command = [sys.executable, __file__, str(other.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[other.fileno()])
        self.ready = False
        other.close()

    def receive(self) -> Any:
        """What it says next, None if it is dead."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


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

    def run(self) -> None:
        """Load the model before anything is consumed."""
        self.loaded = self.seen = identify(self.config.MODEL_PATH)
        self.worker = Worker()
        self.candidate: Worker | None = None  # with a new model, which is still being loaded
        self.asked: list[Incoming] = []
        while not self.stopping and not self.worker.connection.poll(TICK):
            pass
        if not self.stopping:
            self.on_answer()
        super().run()
        self.worker.kill()

    def start(self, unconfirmed: list[Outgoing]) -> None:
        super().start(unconfirmed)
        self.pending: list[Incoming] = []
        self.suspects: deque[Incoming] = deque()
        self.deaths: Counter[int] = Counter()
        if self.asked:  # by the last connection; it comes again
            self.worker.kill()
            self.worker, self.asked = Worker(), []
        self.loop.add_handler(self.worker.connection.fileno(), self.on_answer, self.loop.READ)

    def on_batch(self, batch: list[Incoming]) -> None:
        self.pending += batch
        self.ask()

    def ask(self) -> None:
        """Give the worker what has arrived, if it has nothing to do."""
        if self.asked or not self.worker.ready or not self.ready:
            return
        self.take_candidate()
        if self.suspects:
            self.asked = [self.suspects.popleft()]
        else:
            self.asked, self.pending = self.pending[:PREFETCH], self.pending[PREFETCH:]
        if self.asked:
            with contextlib.suppress(OSError):  # it died just now: on_answer hears of it as well
                self.worker.connection.send([incoming.body for incoming in self.asked])

    def on_answer(self, *_: object) -> None:
        answers = self.worker.receive()
        asked, self.asked = self.asked, []
        if answers == "":
            self.worker.ready = True
        elif not self.worker.ready:
            fail(answers or f"MODEL_PATH={self.config.MODEL_PATH!r}: the process that loads it dies")
        elif answers is None:
            self.on_death(asked)
        elif self.channel.is_open:
            self.publish(
                self.refusal(incoming, answer) if isinstance(answer, str) else Outgoing("y_pred", answer, incoming.tag)
                for incoming, answer in zip(asked, answers, strict=True)
            )
        self.ask()

    def on_death(self, asked: list[Incoming]) -> None:
        """Try again what the worker died of, one by one; refuse what it dies of alone, and not just by chance."""
        log.error("the model's process died (exit code %s), starting it again", self.worker.process.wait())
        self.use(Worker())
        if len(asked) == 1:
            self.deaths[asked[0].tag] += 1
        if len(asked) == 1 and self.deaths[asked[0].tag] == DEATHS and self.channel.is_open:
            self.publish([self.refusal(asked[0], f"the model's process died of it {DEATHS} times")])
        else:
            self.suspects.extendleft(reversed(asked))

    def use(self, worker: Worker) -> None:
        self.loop.remove_handler(self.worker.connection.fileno())
        self.worker.kill()
        self.worker = worker
        self.loop.add_handler(worker.connection.fileno(), self.on_answer, self.loop.READ)

    def on_tick(self) -> None:
        """Load a new model beside the old one when its file was replaced and has not changed since the last look."""
        super().on_tick()
        seen, self.seen = self.seen, identify(self.config.MODEL_PATH)
        if self.seen == seen != self.loaded and not self.candidate:
            self.loaded, self.candidate = seen, Worker()
        self.ask()

    def take_candidate(self) -> None:
        if self.candidate and self.candidate.connection.poll():
            candidate, self.candidate = self.candidate, None
            reason = candidate.receive()
            if reason == "":
                candidate.ready = True
                self.use(candidate)
                log.info("took the new model in %s", self.config.MODEL_PATH)
            else:
                candidate.kill()
                log.error("%s; the old model goes on", reason or "the process that loads the new model dies")

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        self.settle(message.source for message in messages)


def main() -> None:
    config = configure(Config)
    if len(sys.argv) > 1:
        serve(config, Connection(int(sys.argv[1])))
    else:
        Model(config).run()


if __name__ == "__main__":
    main()
