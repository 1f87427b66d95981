"""metric: joins true and predicted values by id and logs the absolute error of each pair.

Consumes `y_true` and `y_pred` ({"id": seconds, "body": number}), appends a row for each pair to
LOGS_DIR/metric_log.csv (`id,y_true,y_pred,absolute_error`; errors in the unit of the target).

Promise: one row a pair, whichever half comes first, however late, however often. A half is acknowledged when it is
synced to LOGS_DIR/metric_state.sqlite3, where it waits for the other, and stays known after that. A batch is one
transaction; its rows are then appended to the CSV and synced. A kill in between leaves rows that the CSV lacks, whole
or in part: the next write, or the next start, appends what is missing.
"""

import itertools
import json
import logging
import math
import os
import re
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
import pika
from msgspec import Meta
from prometheus_client import Counter, Gauge, Histogram, start_http_server

SERVICE = "metric"
RETRY = 1.0  # seconds until the next try of what the broker did not take
TICK = 0.5  # seconds between two looks at the stop flag; a stop may take 2 s
PATIENCE = 15.0  # seconds without a confirm that is due, after which the connection is given up
PREFETCH = 1000  # messages that a consumer holds unacknowledged at most, and so the largest batch
MAX_BODY = 2**20  # bytes of a message
KNOWN = 1_000_000  # rows that stay in the database, so that a late repeat makes no second one
CHUNK = 10_000  # rows appended to the CSV in one go at most, a bound on memory
BUCKETS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]  # of the absolute error, any unit
HEADER = b"id,y_true,y_pred,absolute_error\n"

log = logging.getLogger(SERVICE)
C = TypeVar("C", bound="Config")
M = TypeVar("M", bound="Message")


class Config(msgspec.Struct):
    """The environment variables, their defaults and what they take."""

    AMQP_URL: Annotated[str, Meta(pattern="^amqps?://")] = "amqp://guest:guest@rabbitmq:5672/%2F"
    AMQP_EXCHANGE: str = ""  # published to, with the queue's name as the key; empty: the default exchange
    LOGS_DIR: str = "logs"
    PENDING_TTL: Annotated[float, Meta(gt=0, le=1e9)] = 604800.0  # seconds that a half waits for the other
    METRICS_PORT: Annotated[int, Meta(ge=1, le=65535)] | None = None  # for Prometheus; none: not served
    LOG_LEVEL: Annotated[str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


class Message(msgspec.Struct):
    """What every message has: a Unix time in seconds that names the sample; other keys are ignored."""

    id: Annotated[float, Meta(gt=-(2**53), lt=2**53)]


class Half(Message):
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


def line(id: float, y_true: float, y_pred: float) -> bytes:
    """A row of the CSV, its numbers printed so that they read back to the same float."""
    return f"{id!r},{y_true!r},{y_pred!r},{abs(y_true - y_pred)!r}\n".encode()


class Log:
    """The pairs joined so far: in the database the halves that wait and the last rows, in the CSV all rows.

    Raises OSError or sqlite3.Error where the folder does not take a write; the same call may be made again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metric_log.csv"
        self.csv, self.identity = -1, (0, 0, 0)
        # Its exclusive lock, which ends with the process, is what keeps a second metric out.
        self.db = sqlite3.connect(folder / "metric_state.sqlite3", timeout=0, isolation_level=None)
        self.db.executescript("""
            PRAGMA locking_mode = EXCLUSIVE;
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS halves (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id REAL UNIQUE, queue TEXT, value REAL, since REAL, message BLOB);
            CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, id REAL UNIQUE, y_true REAL, y_pred REAL);
            CREATE TABLE IF NOT EXISTS csv (written INTEGER);
            INSERT INTO csv SELECT 0 WHERE NOT EXISTS (SELECT * FROM csv);
        """)
        (self.written,) = self.db.execute("SELECT written FROM csv").fetchone()  # seq of the CSV's last row
        self.write()

    def add(self, halves: Iterable[tuple[str, Half, bytes]]) -> list[str | None]:
        """Join the halves, each with its queue and its bytes: a reason for each that contradicts a known one."""
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:  # commits, or rolls back
            reasons = [self.join(queue, half.id, half.body, message) for queue, half, message in halves]
            self.db.execute("DELETE FROM rows WHERE seq <= ?", (self.written - KNOWN,))
        self.write()
        return reasons

    def join(self, queue: str, id: float, value: float, message: bytes) -> str | None:
        row = self.db.execute("SELECT y_true, y_pred FROM rows WHERE id = ?", (id,)).fetchone()
        half = None if row else self.db.execute("SELECT queue, value FROM halves WHERE id = ?", (id,)).fetchone()
        if row:
            known = row[queue == "y_pred"]
        elif half and half[0] == queue:
            known = half[1]
        elif half:
            pair = (value, half[1]) if queue == "y_true" else (half[1], value)
            self.db.execute("DELETE FROM halves WHERE id = ?", (id,))
            self.db.execute("INSERT INTO rows (id, y_true, y_pred) VALUES (?, ?, ?)", (id, *pair))
            return None
        else:
            values = (id, queue, value, time.time(), message)
            self.db.execute("INSERT INTO halves (id, queue, value, since, message) VALUES (?, ?, ?, ?, ?)", values)
            return None
        # The same model may answer differently in the last bit when the vector comes again in another batch.
        return None if math.isclose(known, value, rel_tol=1e-9) else f"{queue} of id {id!r} is {known!r} already"

    def write(self) -> None:
        """Append to the CSV the rows that it lacks, and sync it."""
        if self.identity != self.identify():
            self.open()
        query = "SELECT seq, id, y_true, y_pred FROM rows WHERE seq > ? ORDER BY seq LIMIT ?"
        while rows := self.db.execute(query, (self.written, CHUNK)).fetchall():
            self.append(b"".join(line(*row[1:]) for row in rows))
            self.note(rows[-1][0])

    def note(self, written: int) -> None:
        """Remember the last row that the CSV has: for a kill at once, for a power cut with the next transaction."""
        self.written = written
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("UPDATE csv SET written = ?", (written,))
        self.db.execute("PRAGMA synchronous = FULL")

    def append(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.csv, text) :]
        os.fsync(self.csv)
        self.identity = self.identify()

    def identify(self) -> tuple[int, int, int]:
        """Which file the CSV is and how long: it differs from what we left if somebody else had a hand in it."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            return (0, 0, -1)
        return (stat.st_dev, stat.st_ino, stat.st_size)

    def open(self) -> None:
        """Find out where the CSV stands, and complete its last line; one that is not ours is moved aside."""
        if self.csv >= 0:
            csv, self.csv, self.identity = self.csv, -1, (0, 0, 0)
            os.close(csv)
        self.csv = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o664)
        self.identity = self.identify()
        size = self.identity[2]
        if os.pread(self.csv, len(HEADER), 0) != HEADER[:size]:
            self.move_aside("another header")
        elif size < len(HEADER):
            self.written = 0 if size else self.written  # cut short: all again; absent or emptied: go on from here
            self.append(HEADER[size:])
            self.sync_folder()
        else:
            self.find_end(size)

    def find_end(self, size: int) -> None:
        """Which of our rows is the last in the CSV; one that was not written to its end is completed."""
        *lines, torn = os.pread(self.csv, 4096, max(0, size - 4096)).split(b"\n")
        found = [seq for seq in map(self.find, lines) if seq]
        if found or (torn and len(lines) == 1):  # in the latter case it was cut within the first row: all again
            self.written = max(found, default=0)
        if torn:
            query = "SELECT seq, id, y_true, y_pred FROM rows WHERE seq > ? ORDER BY seq LIMIT 1"
            row = self.db.execute(query, (self.written,)).fetchone()
            if row and line(*row[1:]).startswith(torn):
                self.append(line(*row[1:])[len(torn) :])
                self.note(row[0])
            else:
                self.move_aside("a last line that this service did not write")

    def find(self, text: bytes) -> int | None:
        """The seq of the row that was written as this line, None if there is none: somebody else may have added it."""
        try:
            row = self.db.execute("SELECT * FROM rows WHERE id = ?", (float(text.split(b",")[0]),)).fetchone()
        except ValueError:
            return None
        return row[0] if row and line(*row[1:]) == text + b"\n" else None

    def sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def move_aside(self, why: str) -> None:
        aside = self.path.with_name(time.strftime(f"metric_log.%Y-%m-%dT%H-%M-%S.{time.time_ns() % 10**9:09}.csv"))
        log.warning("%s has %s: moved aside to %s", self.path, why, aside.name)
        self.path.rename(aside)
        self.open()

    def expired(self, before: float) -> list[tuple[int, str, bytes]]:
        """The halves that have waited since before that time, the oldest hundred: seq, queue, message."""
        halves = self.db.execute("SELECT since, seq, queue, message FROM halves ORDER BY seq LIMIT 100")
        return [half[1:] for half in itertools.takewhile(lambda half: half[0] < before, halves)]

    def forget(self, seqs: Iterable[int]) -> None:
        with self.db:
            self.db.executemany("DELETE FROM halves WHERE seq = ?", ((seq,) for seq in seqs))


class Exporter:
    """Tells Prometheus what has come of the log, as of the last `update`."""

    def __init__(self, log: Log, port: int) -> None:
        """Serve it on this port, in a thread of its own. Raises OSError if the port is taken."""
        self.log, self.seen = log, log.written
        self.rows = Counter("metric_rows", "Rows written to the CSV since the start")
        self.waiting = Gauge("metric_halves_waiting", "Halves whose other half has not come")
        self.last_row = Gauge("metric_last_row_timestamp_seconds", "When the CSV was last written to")
        self.error = Histogram("metric_absolute_error", "Absolute error, in the unit of the target", buckets=BUCKETS)
        self.update()
        server, _ = start_http_server(port)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is not worth a traceback

    def update(self) -> None:
        query = "SELECT seq, abs(y_true - y_pred) FROM rows WHERE seq > ? AND seq <= ?"
        for seq, error in self.log.db.execute(query, (self.seen, self.log.written)):
            self.seen = seq
            self.rows.inc()
            self.error.observe(error)
        self.waiting.set(*self.log.db.execute("SELECT count(*) FROM halves").fetchone())
        self.last_row.set(os.fstat(self.log.csv).st_mtime)


class Metric(Consumer):
    """Feeds the log with what arrives, and the dead letters with what cannot become a row."""

    queues = ("y_true", "y_pred", "dead_letters")
    sources = ("y_true", "y_pred")
    exporter: Exporter | None = None

    def run(self) -> None:
        """Wait until no other metric has the folder, then take messages."""
        waiting = False
        while not self.stopping:
            try:
                self.log = Log(Path(self.config.LOGS_DIR))
                break
            except (OSError, sqlite3.Error) as error:
                if str(error) != "database is locked":
                    fail(f"LOGS_DIR={self.config.LOGS_DIR!r}: user {os.getuid()} must be able to write there: {error}")
            if not waiting:
                log.warning("another metric writes to %s; waiting for it to end", self.config.LOGS_DIR)
            waiting = True
            time.sleep(TICK)
        else:
            return
        if self.config.METRICS_PORT:
            try:
                self.exporter = Exporter(self.log, self.config.METRICS_PORT)
            except OSError as error:
                fail(f"METRICS_PORT={self.config.METRICS_PORT}: {error.strerror}")
        super().run()
        self.log.db.close()

    def start(self, unconfirmed: list[Outgoing]) -> None:
        super().start(unconfirmed)
        self.failing = False
        self.expiring: list[int] = []

    def on_batch(self, batch: list[Incoming]) -> None:
        """Log what is valid, refuse the rest. Where the disk does not take it, the same batch is tried again."""
        halves = [(incoming, parse(incoming.body, Half)) for incoming in batch]
        try:
            valid = [(incoming.queue, half, incoming.body) for incoming, half in halves if isinstance(half, Half)]
            reasons = iter(self.log.add(valid))
        except (OSError, sqlite3.Error) as error:
            self.batch = batch
            self.loop.call_later(RETRY, self.flush)
            self.complain(error)
            return
        self.failing = False
        refused = []
        for incoming, half in halves:
            reason = next(reasons) if isinstance(half, Half) else half
            if reason:
                refused.append(self.refusal(incoming, reason))
        self.publish(refused)
        self.settle({incoming.tag for incoming in batch} - {message.source for message in refused})

    def on_confirmed(self, messages: list[Outgoing]) -> None:
        self.settle(message.source for message in messages if message.source)

    def on_tick(self) -> None:
        """Once the last expired halves are among the dead letters, forget them; look for more."""
        if not self.failing:
            super().on_tick()
        try:
            if self.exporter:
                self.exporter.update()
            if self.unconfirmed or self.refused:
                return
            if self.expiring:
                self.log.forget(self.expiring)
                self.expiring, self.failing = [], False
            expired = self.log.expired(time.time() - self.config.PENDING_TTL)
        except (OSError, sqlite3.Error) as error:
            self.complain(error)
            return
        self.expiring = [seq for seq, _, _ in expired]
        reason = f"its other half did not come within {self.config.PENDING_TTL:g} s"
        self.publish(self.refusal(Incoming(queue, message, 0), reason) for _, queue, message in expired)

    def complain(self, error: Exception) -> None:
        if not self.failing:
            log.error("cannot write to %s: %s; trying again every second", self.config.LOGS_DIR, error)
        self.failing = True


def main() -> None:
    Metric(configure(Config)).run()


if __name__ == "__main__":
    main()
