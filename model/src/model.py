"""model: answers each feature vector with the prediction of a pre-trained scikit-learn model.

Consumes `features` ({"id": seconds, "body": [number or null, ...]}), publishes `y_pred` ({"id": seconds, "body":
number}), the first of a batch with the SHA-256 of the model in the property app_id.

Promise: a vector is acknowledged when the broker has confirmed its answer: the prediction, or the vector itself in
`dead_letters` with the reason. A crash in between repeats the answer, which metric ignores. The model runs in a process
of its own: a slow vector does not break the connection, and one that kills the process does not end the service.
"""

from pipeline.broker import Broker, BrokerSettings, Delivery, Outgoing, stay_connected
from pipeline.dataset import DataSettings
from pipeline.files import not_a_file
from pipeline.messages import DEAD_LETTERS, FEATURES, Y_PRED, Vector, encode, parse
from pipeline.regressor import Regressor, describe
from pipeline.settings import UnusableError, read, readable, run

import asyncio
import contextlib
import ctypes
import itertools
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import pika
from msgspec import Meta

LOADING = 120.0  # seconds for a model to load
LOOK = 0.5  # seconds between two checks of the model's file
DEATHS = 3  # times that the model's process may die of one vector before the vector is rejected
BATCH_TIMEOUT = 5.0  # seconds more for a batch, which should take half a second, than for one prediction
LONGEST = 2**28  # bytes that a line of the model's process may have; a batch of answers never has as many
PR_SET_PDEATHSIG = 1  # of prctl(2)
RECENT = 100  # vectors answered last, which a new model has to answer as well
# Does not import this file as a module, so a pickle that names `model` or `__main__` does not find our classes.
COMMAND = "import runpy, sys; runpy.run_path(sys.argv[1])['answer_batches'](sys.argv[2])"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelSettings(BrokerSettings, DataSettings):
    """The environment variables of this service."""

    model_path: str = str(Path(__file__).with_name("myfile.pkl"))
    model_sha256: (
        Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$", description="a SHA-256, 64 hexadecimal digits")] | None
    ) = None
    positive_class: str = ""  # of a classifier: the class whose probability is predicted; empty: see Regressor
    predict_timeout: Annotated[float, Meta(gt=0, le=1e6, description="seconds above 0, 1e6 at most, such as 60")] = 60.0


class Loaded(msgspec.Struct, tag=True):
    """The model's process is ready to answer."""

    sha256: str


class Unusable(msgspec.Struct, tag=True):
    """The model cannot be used; the process ends."""

    reason: str


class Prediction(msgspec.Struct, tag=True, array_like=True):
    """The answer to a vector: a message for `y_pred`."""

    message: bytes


class Rejection(msgspec.Struct, tag=True, array_like=True):
    """The answer to a vector that the model cannot take."""

    reason: str


class Answers(msgspec.Struct, tag=True):
    """One answer for each message of a batch, in order."""

    answers: list[Prediction | Rejection]


ANSWER = msgspec.json.Decoder(Loaded | Unusable | Answers)


class ProcessDiedError(Exception):
    """The model's process is gone, or had to be killed."""


async def main(settings: ModelSettings) -> None:
    """Load the model before anything is consumed, and watch its file from then on."""
    predictor = await Predictor.start(settings)
    watching = asyncio.create_task(predictor.replace_model())
    try:
        await stay_connected("model", settings, (DEAD_LETTERS, FEATURES, Y_PRED), partial(serve, predictor))
    finally:
        watching.cancel()
        await predictor.process.end()


async def serve(predictor: "Predictor", broker: Broker) -> None:
    """The flow of this service: each vector gets one answer."""
    predictor.broker = broker
    async for batch in broker.batches(FEATURES):
        try:
            await publish_answers(predictor, broker, batch)
        except ProcessDiedError:  # now one by one, so that no answer waits for that to another message
            broker.take_fewer()  # on the next connection, if this one is lost meanwhile
            for delivery in batch:
                await publish_answers(predictor, broker, [delivery])


async def publish_answers(predictor: "Predictor", broker: Broker, batch: list[Delivery]) -> None:
    """Answer a batch, then acknowledge it. Raises ProcessDiedError if the process dies of several messages at once."""
    answers, properties = await predictor.answer([delivery.body for delivery in batch]), predictor.properties()
    await broker.publish(
        Outgoing(Y_PRED, answer.message, next(properties))
        if isinstance(answer, Prediction)
        else broker.dead_letter(delivery, answer.reason)
        for delivery, answer in zip(batch, answers, strict=True)
    )
    broker.acknowledge(batch)


class Predictor:
    """Answers messages of `features` with the model, which may be replaced meanwhile."""

    def __init__(self, settings: ModelSettings, process: "ModelProcess") -> None:
        self.settings, self.process = settings, process
        self.lock = asyncio.Lock()  # one batch at a time, and no change of the process meanwhile
        self.recent: deque[bytes] = deque(maxlen=RECENT)
        self.broker: Broker | None = None

    @classmethod
    async def start(cls, settings: ModelSettings) -> "Predictor":
        """Raises UnusableError where the model cannot be used."""
        return cls(settings, await ModelProcess.start(settings))

    def properties(self) -> Iterator[pika.BasicProperties]:
        """Those of the predictions of a batch, one by one: the first says which model they are from."""
        yield pika.BasicProperties(delivery_mode=2, app_id=self.process.sha256)
        yield from itertools.repeat(pika.BasicProperties(delivery_mode=2))

    async def answer(self, bodies: list[bytes]) -> list[Prediction | Rejection]:
        """One answer for each message. Raises ProcessDiedError if the process dies of several at once."""
        async with self.lock:
            answers = await self.answer_or_restart(bodies)
        self.recent.extend(body for body, answer in zip(bodies, answers, strict=True) if isinstance(answer, Prediction))
        return answers

    async def answer_or_restart(self, bodies: list[bytes], deaths: int = 0) -> list[Prediction | Rejection]:
        """If the process dies, it is started again; a single message is then tried again."""
        timeout = self.settings.predict_timeout + (BATCH_TIMEOUT if len(bodies) > 1 else 0)
        try:
            return await self.process.answer(bodies, timeout)
        except ProcessDiedError as error:
            log.error("the model's process died (%s), starting it again", error)
            await self.process.end()
            self.process = await ModelProcess.start(self.settings, self.process.file)
            if len(bodies) > 1:
                raise
            if deaths + 1 < DEATHS:
                return await self.answer_or_restart(bodies, deaths + 1)
            return [Rejection(f"the model's process died of it {DEATHS} times ({error})")]

    async def replace_model(self) -> None:
        """Load a new model next to the old one whenever its file was replaced and did not change between two looks."""
        path = self.settings.model_path
        loaded = seen = self.process.identity
        loading: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(LOOK)
                seen, before = identify(path), seen
                if seen == before != loaded:
                    loaded = seen
                    if loading:
                        loading.cancel()
                    loading = asyncio.create_task(self.take_new_model())
        finally:
            if loading:
                loading.cancel()

    async def take_new_model(self) -> None:
        """Take the model that is in the file now if it answers what the old one answered."""
        candidate = None
        try:
            candidate = await ModelProcess.start(self.settings)
            vectors, timeout = list(self.recent), self.settings.predict_timeout
            answers = [answer for vector in vectors for answer in await candidate.answer([vector], timeout)]
            rejections = [answer.reason for answer in answers if isinstance(answer, Rejection)]
            if rejections:
                n = f"{len(rejections)} of the last {len(vectors)} vectors that the old one answered"
                raise UnusableError(f"MODEL_PATH={self.settings.model_path!r}: it does not answer {n}: {rejections[0]}")
            async with self.lock:
                candidate, self.process = self.process, candidate
            if self.broker:
                self.broker.take_fewer()  # the new model may be slower
            log.info("switched to the new model in %s", self.settings.model_path)
        except (UnusableError, ProcessDiedError) as error:
            log.error("%s; the old model stays", error)
        finally:
            if candidate:
                await candidate.end()


class ModelProcess:
    """A process that holds the model: a vector may kill it, or keep it busy, without harm to the connection.

    Requests and answers are lines of JSON.
    """

    def __init__(self, process: asyncio.subprocess.Process, file: BinaryIO | None, identity: tuple[int, ...]) -> None:
        assert process.stdin
        assert process.stdout
        self.process, self.requests, self.answers = process, process.stdin, process.stdout
        self.file, self.identity, self.sha256, self.busy = file, identity, "", False

    @classmethod
    async def start(cls, settings: ModelSettings, file: BinaryIO | None = None) -> "ModelProcess":
        """Start a process and wait until the model is loaded. Raises UnusableError where it cannot be used.

        `file`: that of a model that was accepted before, which counts whatever is at MODEL_PATH by now.
        """
        error = ProcessDiedError()
        for _ in range(DEATHS):
            identity = identify(settings.model_path)
            with contextlib.suppress(OSError):  # the process says why it cannot be read
                if not file and not not_a_file(Path(settings.model_path)):
                    file = open(settings.model_path, "rb")  # noqa: SIM115, for as long as the model is in use
            descriptors = [file.fileno()] if file else []
            path = f"/dev/fd/{file.fileno()}" if file else settings.model_path
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", COMMAND, __file__, path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST,
                pass_fds=descriptors,
                start_new_session=True,  # one signal then reaches all that the model starts
            )
            self = cls(process, file, identity)
            try:
                answer = await self.receive(LOADING)
            except ProcessDiedError as died:
                error = died
                log.error("the process that loads the model died (%s)", error)
                await self.end()
            except asyncio.CancelledError:
                await self.end()
                raise
            else:
                if isinstance(answer, Loaded):
                    self.sha256 = answer.sha256
                    return self
                await self.end()
                raise UnusableError(answer.reason)
        raise UnusableError(f"MODEL_PATH={settings.model_path!r}: the process that loads it dies ({error})")

    async def answer(self, bodies: list[bytes], limit: float) -> list[Prediction | Rejection]:
        """One answer for each message, within `limit` seconds. Raises ProcessDiedError."""
        if self.busy:  # with a batch whose connection was lost: nobody waits for its answers any more
            await self.receive_answers(limit)
        self.busy = True
        with contextlib.suppress(ConnectionError):  # it died just now: `receive` notices
            self.requests.write(msgspec.json.encode(bodies) + b"\n")
            await self.requests.drain()
        return await self.receive_answers(limit)

    async def receive_answers(self, limit: float) -> list[Prediction | Rejection]:
        answer = await self.receive(limit)
        self.busy = False
        if isinstance(answer, Answers):
            return answer.answers
        raise ProcessDiedError(answer.reason)

    async def receive(self, limit: float) -> Any:
        """What the process sends next: one of Loaded, Unusable and Answers. Raises ProcessDiedError."""
        try:
            async with asyncio.timeout(limit):
                line = await self.answers.readline()
        except TimeoutError:
            raise ProcessDiedError(f"no answer within {limit:g} s") from None
        if not line.endswith(b"\n"):
            raise ProcessDiedError(f"exit code {await self.process.wait()}")
        return ANSWER.decode(line)

    async def end(self) -> None:
        """With all processes that the model has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


def identify(path: str) -> tuple[int, ...]:
    """Identity and time of a file: the result differs when the file was replaced."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


# --- The model's process ---


def answer_batches(file: str) -> None:
    """Load the model from a file, report that, and answer batches of messages until the service ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service
    with contextlib.suppress(AttributeError):  # which only Linux has
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a model that hangs ends with the service
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a model that reads its input gets none of the requests
    os.dup2(2, 1)  # what a model prints goes to the log

    def send(answer: Loaded | Unusable | Answers) -> None:
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()

    with contextlib.suppress(BrokenPipeError):  # the service has ended, perhaps in the middle of a line
        try:
            settings = read(ModelSettings)
            regressor = Regressor(settings.model_path, settings.model_sha256, settings, settings.positive_class, file)
            send(Loaded(regressor.sha256))
            for line in requests:
                send(Answers(answer_messages(regressor, msgspec.json.decode(line, type=list[bytes]))))
        except UnusableError as error:
            send(Unusable(readable(str(error))))
        except Exception as error:  # out of memory, for example: not the fault of a vector
            send(Unusable(readable(describe(error))))


def answer_messages(regressor: Regressor, bodies: list[bytes]) -> list[Prediction | Rejection]:
    """One answer for each message of `features`; the valid ones of n vectors go to the model in one call."""
    vectors = [parse(body, Vector) for body in bodies]
    predictions = iter(regressor.predict([vector.body for vector in vectors if isinstance(vector, Vector)]))
    answers: list[Prediction | Rejection] = []
    for vector in vectors:
        if isinstance(vector, str):
            answers.append(Rejection(vector))
        elif isinstance(y := next(predictions), str):
            answers.append(Rejection(readable(y[:500])))  # a model may raise any text
        else:
            answers.append(Prediction(encode(vector.id, y)))
    return answers


if __name__ == "__main__":
    run("model", ModelSettings, main)
