"""An asyncio client for RabbitMQ: batches, publish, acknowledge, dead letters; and the one loop that connects again.

    async def serve(broker: Broker) -> None:
        async for batch in broker.batches("features"):
            await broker.publish([answer(delivery) for delivery in batch])  # returns when all are confirmed
            broker.acknowledge(batch)

    await stay_connected("model", settings, ("features", "y_pred", "dead_letters"), serve)

A connection that is lost ends `serve` wherever it awaits; it is called again on the next one. The broker delivers
unacknowledged messages again; the caller publishes unconfirmed messages again.
"""

from pipeline.files import Alive
from pipeline.messages import DEAD_LETTERS
from pipeline.settings import Settings, UnusableError, readable

import asyncio
import contextlib
import itertools
import logging
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import pika
import pika.data
from msgspec import Meta
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

RETRY = 1.0  # seconds between two tries to connect, or to publish what the broker rejected
TICK = 0.5  # seconds between two signs of life
OPENING = 10.0  # seconds for a connection to open; pika itself gives up after 15, with a longer message
PATIENCE = 15.0  # seconds to wait for a confirm before the connection is given up
RENEWAL = 40.0  # seconds without a message from a queue, after which a consumer begins a new connection, to be sure
BATCH_SECONDS = 0.5  # the longest that a batch should take
BATCH_BYTES = 2**24  # that a batch, or what is being published, should have at most; pika is slow with larger buffers
HELD_BYTES = 2**28  # unacknowledged; above this, the connection is given up and opened again with a smaller prefetch
LARGEST_BATCH = 500  # messages: more is not faster
FEWEST = 0.1  # a batch size at which one message is held at a time
SETTLED = 2.0  # seconds after which an outage counts as over on a connection that has nothing to do
FULL = 0.02  # seconds to wait until a consumer has all that it may hold
LOOK = 1.0  # seconds between two looks at a queue in which too many messages wait
WAITING = 50_000  # messages that may wait in a queue before more are published,
WAITING_BYTES = 2**28  # or fewer, where they are large: the broker has to keep them on its disk
QUORUM = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 2**31 - 1,  # none: every lost connection counts as a delivery of all that was prefetched
}
ARGUMENTS = QUORUM | {  # what a policy or a limit makes the broker drop goes to the dead letters
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
Arguments = dict[str, Any] | None
QUEUE_FORMS: list[tuple[Arguments, str]] = [  # forms that lose nothing by default, and what can still be lost
    (ARGUMENTS, ""),
    (QUORUM, "messages dropped by a policy are lost; a new queue would move them to the dead letters"),
    (None, "messages dropped by a policy are lost; a new queue would be a quorum queue with dead letters"),
]
UNUSABLE = {  # forms that cannot be used without loss, by a word of the broker's answer
    "stream": "the queue {queue} is a stream, which cannot be consumed like a queue",
    "auto_delete": "the queue {queue} is deleted with its last consumer, and all its messages",
}
URL = r"amqps?://([^\s/?#@,'\"\[\]]*@)?([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/[^\s/?#@,]*)?(\?[^\s#@,]*)?"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BrokerSettings(Settings):
    """The settings of every program that uses the broker."""

    amqp_url: Annotated[
        str,
        Meta(
            pattern=f"^{URL}(,{URL})*$",
            description="amqp://user:password@host:port/vhost, or several with commas in between;"
            " special characters of the password are %-encoded (@ is %40)",
            extra={"secret": True},
        ),
    ] = "amqp://guest:guest@rabbitmq:5672/%2F"
    amqp_exchange: Annotated[
        str, Meta(pattern="^[ -~]{,255}$", description="a name of at most 255 ASCII characters")
    ] = ""  # published to, with the queue's name as the key; empty: the default exchange


class ConnectionLostError(Exception):
    """The connection is lost or unusable; the text explains why."""


class QueuedMessage(Protocol):
    """Anything with a body, and the queue that it came from or goes to."""

    @property
    def queue(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class RenewalError(ConnectionLostError):
    """The connection is well, as far as one can see, and given up for a new one."""


class Outgoing(NamedTuple):
    """A message to publish. `properties`: those of AMQP, persistent unless another is given."""

    queue: str
    body: bytes
    properties: pika.BasicProperties = pika.BasicProperties(delivery_mode=2)


@dataclass
class Consumer:
    """A consumer of one queue. `prefetch`: how many messages may be unacknowledged; `outstanding`: how many are."""

    queue: str
    prefetch: int
    outstanding: int = 0
    tag: str = ""
    heard: float = field(default_factory=time.monotonic)  # when the last message came


class Delivery(NamedTuple):
    """A message that arrived; it stays the broker's until it is acknowledged."""

    queue: str
    body: bytes
    tag: int
    model: str  # the property app_id: of some predictions, the SHA-256 of the model that made them
    consumer: Consumer


def decode_value(encoded: bytes, offset: int, decode: Any = pika.data.decode_value) -> tuple[Any, int]:
    """The value of a header, and where the next one begins.

    pika raises at a time that Python does not know, such as one in milliseconds: here, that is a number; and at tables
    or arrays that are nested too deeply: None. Otherwise such a message would end one connection after another.
    """
    try:
        return decode(encoded, offset)
    except (ValueError, OverflowError, OSError, RecursionError):
        match encoded[offset : offset + 1]:
            case b"T":
                return struct.unpack_from(">q", encoded, offset + 1)[0], offset + 9
            case b"F" | b"A":
                return None, offset + 5 + struct.unpack_from(">I", encoded, offset + 1)[0]
        raise


pika.data.decode_value = decode_value


class BufferingConnection(AsyncioConnection):
    """Sends at once what is written in one iteration of the event loop: 9 % more samples per second."""

    unsent = bytearray()

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self.unsent:
            self.unsent = bytearray()
            self.ioloop.call_soon(self.send)
        self.unsent += data

    def send(self) -> None:
        data, self.unsent = bytes(self.unsent), bytearray()
        if self._transport:  # not closed meanwhile
            super()._adapter_emit_data(data)


@dataclass
class Publication:
    """What one call of `publish` waits for."""

    pending: int
    rejected: list[Outgoing] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class State:
    """What outlives a connection."""

    connected: bool = False  # as logged
    outage: bool = False
    warned: set[tuple[str, str]] = field(default_factory=set)  # the queue, and how it differs
    batch_size: float = 1  # messages, as measured


async def stay_connected(service: str, settings: BrokerSettings, queues: Iterable[str], serve: "Serve") -> None:
    """Call `serve(broker)` on one connection after another, to the first address that answers, until it returns.

    The queues are declared where they are missing. An outage is logged once; it tries again every second. Raises
    UnusableError where the broker rejects user, password or virtual host.
    """
    alive, state = Alive(service), State()
    addresses = itertools.cycle([read_url(url) for url in settings.amqp_url.split(",")])
    address = next(addresses)
    while True:
        broker = Broker(service, settings, address, alive, state)
        try:
            await broker.run(queues, serve)
            return
        except RenewalError:
            continue  # with the same address: it is well
        except ConnectionLostError as error:
            if not state.outage:
                log.warning("no connection to %s: %s; trying again every second", broker.address, error)
            state.outage, state.connected = True, False
        address = next(addresses)
        await asyncio.sleep(RETRY)


Serve = Callable[["Broker"], Awaitable[None]]
M = TypeVar("M", bound=QueuedMessage)


class Broker:
    """One connection to RabbitMQ, with one channel for messages."""

    def __init__(
        self, service: str, settings: BrokerSettings, parameters: pika.URLParameters, alive: Alive, state: State
    ) -> None:
        self.parameters = parameters
        self.parameters.client_properties = {"connection_name": service}
        self.parameters.socket_timeout = 5  # seconds for TCP
        self.parameters.heartbeat = 10  # seconds: a half-open connection is noticed within 25
        self.address = f"{self.parameters.host}:{self.parameters.port}"
        self.service, self.exchange, self.alive, self.state = service, settings.amqp_exchange, alive, state
        self.well = True  # the service sets it to False while it cannot work: then the health check fails
        self.connection: Any = None
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.blocked, self.heard, self.worked = False, time.monotonic(), False
        self.published, self.unconfirmed = 0, dict[int, tuple[Publication, Outgoing]]()
        self.arrived, self.arrival, self.held = deque[Delivery](), asyncio.Event(), 0
        self.rejecting, self.unlogged = False, list[tuple[str, str]]()

    async def run(self, queues: Iterable[str], serve: Serve) -> None:
        """Connect, and call `serve` until it returns. Raises ConnectionLostError, and what `serve` raises."""
        work = asyncio.create_task(self._work(queues, serve))
        try:
            both: list[asyncio.Future[Any]] = [work, self.lost]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise why(self.lost.result(), self.address)
            work.result()
        except (AMQPError, TimeoutError) as error:
            raise why(self.lost.result() if self.lost.done() else error, self.address) from None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if self.connection and not (self.connection.is_closing or self.connection.is_closed):  # also while it opens
                self.connection.close()
                await asyncio.wait({self.lost}, timeout=TICK)  # the broker may not answer
            self.arrived.clear()  # otherwise its memory may stay in use until the garbage collector runs

    async def _work(self, queues: Iterable[str], serve: Serve) -> None:
        # pika raises in a callback where a connection is gone before it is set up.
        asyncio.get_running_loop().set_exception_handler(lambda _, what: self._lose(what.get("exception", what)))
        opened = Answer()
        self.connection = BufferingConnection(self.parameters, opened.set, self._on_closed, self._on_closed)
        async with asyncio.timeout(OPENING):
            await opened
        self.connection.add_on_connection_blocked_callback(self._on_blocked)
        self.connection.add_on_connection_unblocked_callback(self._on_unblocked)
        for queue in queues:
            await self._make_queue(queue)
        self.channel = await self._open_channel(lambda _, reason: self._lose(reason))
        self.channel.add_on_return_callback(
            lambda _, method, *__: self._lose(f"the queue {method.routing_key} is missing")
        )
        self.channel.add_on_cancel_callback(lambda _: self._lose("a queue was deleted"))
        self.channel.confirm_delivery(self._on_confirm)
        self.since = time.monotonic()
        self._tick()
        await serve(self)

    async def _open_channel(self, on_closed: Callable[[Any, Any], None]) -> Any:
        opened = Answer()
        self.connection.channel(on_open_callback=opened.set).add_on_close_callback(on_closed)
        return await opened

    async def _declare(self, queue: str, arguments: Arguments = None, passive: bool = False) -> Any:
        """The broker's answer. Raises ChannelClosedByBroker: a rejection closes a channel, hence one of its own."""
        answer = Answer()
        channel = await self._open_channel(lambda _, reason: answer.set(reason))
        channel.queue_declare(queue, passive, durable=True, arguments=arguments, callback=answer.set)
        declared = await answer
        channel.close()
        return declared.method

    async def _make_queue(self, queue: str) -> None:
        """Declare a queue. One that exists in another form is used, with a warning of what can be lost."""
        differs = list[str]()
        for arguments, cost in QUEUE_FORMS:  # noqa: B007
            try:
                await self._declare(queue, arguments)
            except ChannelClosedByBroker as error:
                if error.reply_code == 403:  # without the right to declare; an administrator has created the queue
                    return
                if error.reply_code != 406:
                    raise
                differs.append(error.reply_text)
            else:
                break
        else:
            cost = "it may lose messages when the broker restarts or its last consumer ends, or by age or number"
        for word, problem in UNUSABLE.items():
            if any(f"'{word}'" in text for text in differs):
                cure = "delete it, or let its program use another name"
                raise UnusableError(f"{problem.format(queue=queue)}: {cure}")
        if differs and (queue, differs[0]) not in self.state.warned:
            log.warning("the queue %s exists in another form: %s (%s)", queue, cost, differs[0])
            self.state.warned.add((queue, differs[0]))

    def _tick(self) -> None:
        """Every half second: give a sign of life, notice missing confirms, log what is due."""
        if self.lost.done():
            return
        asyncio.get_running_loop().call_later(TICK, self._tick)
        now = time.monotonic()
        if self.blocked or not self.unconfirmed:
            self.heard = now
        if now - self.heard > PATIENCE:  # a queue deleted under load can do that
            self._lose("the broker confirms nothing")
        if not self.state.connected and (not self.state.outage or self.worked or now - self.since > SETTLED):
            log.info("connected to %s", self.address)
            self.state.connected, self.state.outage = True, False
        if self.well and self.state.connected:
            self.alive.touch()
        if self.unlogged:
            queue, reason = self.unlogged[-1]
            more = f" (and {len(self.unlogged) - 1:,} more in {TICK} s)" if len(self.unlogged) > 1 else ""
            log.warning("rejected a message of %s: %s%s", queue, reason, more)
            self.unlogged.clear()

    def _lose(self, reason: Any) -> None:
        if not self.lost.done():
            self.lost.set_result(reason if isinstance(reason, BaseException) else ConnectionLostError(reason))

    def _on_closed(self, _: object, reason: BaseException) -> None:
        self._lose(reason)

    def _on_blocked(self, _: object, frame: Any) -> None:
        self.blocked = True
        log.warning("the broker blocks publishing (%s), waiting", frame.method.reason)

    def _on_unblocked(self, *_: object) -> None:
        self.blocked = False
        log.info("the broker takes messages again")

    # --- Publishing ---

    async def publish(self, messages: Iterable[Outgoing]) -> None:
        """Publish, and return when the broker has confirmed all of the messages; those it rejects are tried again."""
        left = list(messages)
        while left:
            rejected = []
            for part in in_parts(left):
                rejected += await self._publish(part)
            left = rejected
            if left and not self.rejecting:
                log.warning("the broker rejects messages for %s; trying again every second", left[0].queue)
            if self.rejecting and not left:
                log.info("the broker takes messages again")
            self.rejecting = bool(left)
            if left:
                await asyncio.sleep(RETRY)

    async def _publish(self, messages: list[Outgoing]) -> list[Outgoing]:
        """Those of the messages that the broker rejects."""
        if not self.channel.is_open:
            await asyncio.Future()  # for ever: `run` ends this
        publication = Publication(len(messages))
        for message in messages:
            self.channel.basic_publish(self.exchange, *message, mandatory=True)
            self.published += 1
            self.unconfirmed[self.published] = publication, message
        await publication.done.wait()
        return publication.rejected

    def _on_confirm(self, frame: Any) -> None:
        if self.lost.done():
            return  # a message that was returned, since its queue is missing, is confirmed as well
        self.heard, self.worked = time.monotonic(), True
        last = frame.method.delivery_tag
        tags = itertools.takewhile(last.__ge__, self.unconfirmed) if frame.method.multiple else [last]
        for tag in list(tags):
            publication, message = self.unconfirmed.pop(tag)
            publication.pending -= 1
            if isinstance(frame.method, pika.spec.Basic.Nack):
                publication.rejected.append(message)
            if not publication.pending:
                publication.done.set()

    async def wait_for_room(self, queues: Iterable[str], largest: int) -> int:
        """Wait while one of the queues has more messages than the broker should keep; returns how many it may have.

        `largest`: the bytes of the largest message.
        """
        limit = min(WAITING, WAITING_BYTES // largest)
        paused = False
        for queue in queues:
            while (waiting := await self._waiting(queue)) > limit:
                if not paused:
                    log.warning("%d messages wait in %s: publishing pauses until there are fewer", waiting, queue)
                paused = True
                await asyncio.sleep(LOOK)
        if paused:
            log.info("publishing resumes")
        return limit

    async def _waiting(self, queue: str) -> int:
        """How many messages wait in a queue for a consumer; 0 if that cannot be known."""
        try:
            return int((await self._declare(queue, passive=True)).message_count)
        except ChannelClosedByBroker:
            return 0

    # --- Consuming ---

    async def batches(self, *queues: str) -> AsyncIterator[list[Delivery]]:
        """Yields what has arrived, at least one message each time; the caller acknowledges each batch.

        A batch has as many messages as half a second of work, as measured on those before, and no more than
        BATCH_BYTES, unless that is a single one. Some more are held, so that there is no wait in between.
        """
        consumers = [self._consume(queue, prefetch_for(min(self.state.batch_size, 1))) for queue in queues]
        while True:
            await self._wait_for_arrival(min(consumer.heard for consumer in consumers) + RENEWAL)
            consumers = [await self._adjust_prefetch(consumer) for consumer in consumers]
            measured = self.state.batch_size
            size = max(1, int(measured))
            batch = next(in_parts(itertools.islice(self.arrived, size)))
            for _ in batch:
                self.arrived.popleft()
            begun = time.monotonic()
            yield batch
            per_second = len(batch) / max(time.monotonic() - begun, 1e-6)
            per_byte = len(batch) / (1 + sum(len(delivery.body) for delivery in batch))
            fitting = min(LARGEST_BATCH, BATCH_SECONDS * per_second, BATCH_BYTES * per_byte)
            unchanged = self.state.batch_size == measured  # otherwise the caller has asked for fewer meanwhile
            if unchanged and (fitting < size or len(batch) == size):
                self.state.batch_size = max(size / 8, min(size * 8, fitting))

    def _consume(self, queue: str, prefetch: int) -> Consumer:
        consumer = Consumer(queue, prefetch)
        self.channel.basic_qos(prefetch_count=prefetch)
        consumer.tag = self.channel.basic_consume(queue, partial(self._on_message, consumer))
        return consumer

    async def _adjust_prefetch(self, consumer: Consumer) -> Consumer:
        """Replace the consumer by one with another prefetch where the size of a batch needs it.

        Only when the broker may not send any more to the old one, and before anything is acknowledged: pika would hand
        back what is still on its way to it, and the broker then sends that again in another order.
        """
        wanted = prefetch_for(self.state.batch_size)
        if wanted == consumer.prefetch or consumer.outstanding < consumer.prefetch / 2:
            return consumer
        if self.held * wanted / consumer.outstanding > HELD_BYTES / 2 and wanted > consumer.prefetch:
            return consumer  # more of these messages would be too many bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FULL):
                while consumer.outstanding < consumer.prefetch:
                    self.arrival.clear()
                    await self.arrival.wait()
        if consumer.outstanding < consumer.prefetch:
            return consumer
        cancelled = Answer()
        self.channel.basic_cancel(consumer.tag, callback=cancelled.set)
        await cancelled
        return self._consume(consumer.queue, wanted)

    async def _wait_for_arrival(self, until: float) -> None:
        """Return when something has arrived; begin a new connection at a time by which nothing has.

        RabbitMQ 3.10 does not tell a consumer that its queue was deleted and declared again at once: what is published
        to that waits for a consumer that gets nothing.
        """
        try:
            async with asyncio.timeout_at(until):
                while not self.arrived:
                    self.arrival.clear()
                    await self.arrival.wait()
        except TimeoutError:
            self._lose(RenewalError())
            await asyncio.Future()  # for ever: `run` ends this

    def _on_message(self, consumer: Consumer, _: object, method: Any, properties: Any, body: bytes) -> None:
        model = properties.app_id if isinstance(properties.app_id, str) else ""  # bytes, where it is not UTF-8
        self.arrived.append(Delivery(consumer.queue, body, method.delivery_tag, model, consumer))
        consumer.outstanding += 1
        consumer.heard = time.monotonic()
        self.arrival.set()
        self.worked = True
        self.held += len(body)
        if self.held > HELD_BYTES and consumer.prefetch > 1:
            self.take_fewer()
            self._lose("too many bytes came at once, taking fewer messages")

    def take_fewer(self) -> None:
        """Return to batches of one message, because the measured time no longer applies."""
        self.state.batch_size = FEWEST

    def acknowledge(self, batch: Sequence[Delivery]) -> None:
        """Acknowledge a batch and all batches before it: their results are safe."""
        if self.channel.is_open:
            self.channel.basic_ack(batch[-1].tag, multiple=True)
            for delivery in batch:
                delivery.consumer.outstanding -= 1
                self.held -= len(delivery.body)

    def dead_letter(self, message: QueuedMessage, reason: str) -> Outgoing:
        """A message that cannot be used, unchanged, for a person to look at. At most two a second are logged."""
        reason = readable(reason[:500])  # a header is limited to a frame, and to UTF-8
        self.unlogged.append((message.queue, reason))
        headers = {"reason": reason, "queue": message.queue, "service": self.service}
        return Outgoing(DEAD_LETTERS, message.body, pika.BasicProperties(delivery_mode=2, headers=headers))


class Answer(asyncio.Future[Any]):
    """Awaits the value that pika passes to a callback; an exception is raised."""

    def set(self, *arguments: Any) -> None:
        if not self.done() and isinstance(arguments[-1], BaseException):
            self.set_exception(arguments[-1])
            self.exception()  # it counts as seen, also if the connection is lost and nobody awaits it any more
        elif not self.done():
            self.set_result(arguments[-1])


def prefetch_for(batch_size: float) -> int:
    """How many messages to hold for batches of a size; below 1, one message takes longer than a batch should."""
    if batch_size <= FEWEST:
        return 1
    return 2 if batch_size < 1 else 16 if batch_size <= 8 else 128 if batch_size <= 64 else 1000


def read_url(url: str) -> pika.URLParameters:
    """Raises UnusableError."""
    try:
        url.encode()  # ValueError, where it is not UTF-8
        return pika.URLParameters(url)
    except (ValueError, TypeError, SyntaxError, OSError):  # pika's text may hold a part of the password
        raise UnusableError("AMQP_URL: a port, an option or a character in it is not one that pika takes") from None


def in_parts(messages: Iterable[M]) -> Iterator[list[M]]:
    """Lists of at most BATCH_BYTES each, or of one message that is larger."""
    part, size = list[M](), 0
    for message in messages:
        if part and size + len(message.body) > BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.body)
    if part:
        yield part


def why(error: Any, address: str) -> Exception:
    """The reason why the connection ended; pika wraps it in up to three exceptions."""
    if isinstance(error, RenewalError):
        return error
    causes: list[Any] = [error]
    while causes:
        error = causes[-1]
        causes = [*error.args, *getattr(error, "exceptions", []), getattr(error, "exception", None)]
        causes = [cause for cause in causes if isinstance(cause, BaseException)]
    if "(403)" in str(error) or ("(530)" in str(error) and "limit" not in str(error)):
        return UnusableError(f"{address} rejects the login: check user, password and virtual host in AMQP_URL: {error}")
    return ConnectionLostError(str(error) or f"no answer within {OPENING:g} s")
