"""metric: joins true and predicted values by id and logs the absolute error of each pair.

Consumes `y_true` and `y_pred` ({"id": seconds, "body": number}), appends one row for each pair to
LOGS_DIR/metric_log.csv (`id,y_true,y_pred,absolute_error`; errors in the unit of the target).

Promise: one row per pair, whichever value comes first, however late, however often. An unmatched value (a *half* of a
pair, in the code) is acknowledged when it is synced to LOGS_DIR/metric_state.sqlite3, where it waits. A batch is one
transaction; its rows are then appended to the CSV and synced. A crash in between leaves rows that the CSV lacks, whole
or in part: the next write, or the next start, writes them.
"""

from pipeline.broker import Broker, BrokerSettings, QueuedMessage, stay_connected
from pipeline.files import HEADER, LARGEST, sync_folder
from pipeline.messages import DEAD_LETTERS, Y_PRED, Y_TRUE, Value, parse
from pipeline.settings import UnusableError, run

import asyncio
import errno
import fcntl
import logging
import math
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from msgspec import Meta
from prometheus_client import Counter, Gauge, Histogram, start_http_server

RETRY = 1.0  # seconds until the next try of what the disk did not take
TICK = 0.5  # seconds between two checks for what has expired, and for the lock
CLOCK_INTERVAL = 60.0  # seconds between two writes of the clock to the database while nothing comes
KNOWN = 1_000_000  # rows that stay in the database, so that a late repeat makes no second one
CHUNK = 10_000  # rows appended to the CSV at once, a bound on memory
EXPIRED = 500  # halves expired at once
TAIL = 2**20  # bytes at the end of the CSV that are looked through for rows
BUCKETS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]  # of the absolute error, any unit
SCRAPERS = 20  # of the metrics page at the same time
NO_FILE = (0, 0, 0)  # what `identify` says where there is none
CSV_NAME, STATE_NAME = "metric_log.csv", "metric_state.sqlite3"  # in LOGS_DIR
WAL = f"{STATE_NAME}-wal"  # SQLite writes to it first
SHA256 = re.compile("[0-9a-f]{64}")
SCHEMA = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS halves (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id REAL UNIQUE, queue TEXT, value REAL, since REAL, message BLOB);
    CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, id REAL UNIQUE, y_true REAL, y_pred REAL);
    CREATE TABLE IF NOT EXISTS csv (written INTEGER);
    INSERT INTO csv (written) SELECT 0 WHERE NOT EXISTS (SELECT * FROM csv);
"""
SINCE_VERSION_01 = """
    BEGIN;
    ALTER TABLE csv ADD COLUMN size INTEGER;
    ALTER TABLE csv ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE csv ADD COLUMN clock REAL NOT NULL DEFAULT 0;
    UPDATE halves SET since = since - strftime('%s');
    COMMIT;
"""

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class MetricSettings(BrokerSettings):
    """The environment variables of this service."""

    logs_dir: str = "logs"
    pending_ttl: Annotated[
        float, Meta(gt=0, le=1e9, description="seconds above 0, 1e9 at most, such as 604800 for a week")
    ] = 604800.0
    metrics_port: Annotated[int, Meta(ge=1, le=65535, description="a port from 1 to 65535")] | None = None
    metrics_host: str = "127.0.0.1"  # the address on which the metrics for Prometheus are served


async def main(settings: MetricSettings) -> None:
    """Wait until no other metric has the folder, then join and log until told to stop."""
    metric_log = await open_log(Path(settings.logs_dir))
    exporter = Exporter(metric_log, settings.metrics_host, settings.metrics_port) if settings.metrics_port else None

    async def serve(broker: Broker) -> None:
        with metric_log.clock_running():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(join_pairs(broker, metric_log))
                tasks.create_task(expire(broker, metric_log, settings.pending_ttl))
                if exporter:
                    tasks.create_task(exporter.update_again_and_again())

    try:
        await stay_connected("metric", settings, (DEAD_LETTERS, Y_TRUE, Y_PRED), serve)
    finally:
        metric_log.close()


async def join_pairs(broker: Broker, metric_log: "MetricLog") -> None:
    """The flow of this service: pairs become rows, and what cannot be half of a pair becomes a dead letter."""
    async for batch in broker.batches(Y_TRUE, Y_PRED):
        halves, rejected = [], list[tuple[QueuedMessage, str]]()
        for delivery in batch:
            value = parse(delivery.body, Value)
            if isinstance(value, Value):
                halves.append(Half(delivery.queue, float(value.id), value.body, delivery.body, delivery.model))
            else:
                rejected.append((delivery, value))
        rejected += await keep_trying(broker, metric_log, partial(metric_log.add, halves))
        await broker.publish(broker.dead_letter(message, reason) for message, reason in rejected)
        broker.acknowledge(batch)


async def expire(broker: Broker, metric_log: "MetricLog", ttl: float) -> None:
    """Move the halves that waited too long to the dead letters; forget them when they are safe there."""
    reason = f"its partner did not come within {ttl:g} s"
    while True:
        expired = await keep_trying(broker, metric_log, partial(metric_log.expired, ttl))
        if expired:
            await broker.publish([broker.dead_letter(half, reason) for half in expired])
            await keep_trying(broker, metric_log, partial(metric_log.forget, expired))
        else:
            await asyncio.sleep(TICK)


async def keep_trying(broker: Broker, metric_log: "MetricLog", operation: Callable[[], T]) -> T:
    """The result of an operation on the log, tried again every second as long as the disk does not take it."""
    async with metric_log.lock:
        while True:
            try:
                result = operation()
            except (OSError, sqlite3.Error) as error:
                if broker.well:
                    reason = explain(error, metric_log.folder)
                    log.error("cannot write to %s: %s; trying again every second", metric_log.folder, reason)
                broker.well = False
                await asyncio.sleep(RETRY)
            else:
                broker.well = True
                return result


async def open_log(folder: Path) -> "MetricLog":
    """Open the log as soon as no other metric has it. Raises UnusableError where it cannot be opened at all."""
    waiting = False
    while True:
        try:
            return MetricLog(folder)
        except BlockingIOError:
            if not waiting:
                log.warning("another metric writes to %s, or a program reads its state; waiting for it to end", folder)
            waiting = True
            await asyncio.sleep(TICK)
        except (OSError, sqlite3.Error) as error:
            raise UnusableError(f"LOGS_DIR={str(folder)!r}: {explain(error, folder)}") from None


def explain(error: Exception, folder: Path) -> str:
    """Why a folder cannot be used, for the person who has to change that."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{STATE_NAME} is damaged ({error}): stop metric and move the file away, and the next start makes a new"
            " one; the unmatched values in it are lost then, and a redelivered message of an old row makes a second row"
        )
    for name in (STATE_NAME, CSV_NAME):
        if os.path.isdir(folder / name):  # Path.is_dir raises in a folder that is closed
            return f"{name} is a folder, where a file has to be: rename it"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "takes a folder, and this, or a part of the path, is a file"
    if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return f"the disk is full: {error}"
    paths = [folder / name for name in (STATE_NAME, WAL, CSV_NAME) if os.path.exists(folder / name)]
    if isinstance(error, PermissionError) or not all(os.access(path, os.W_OK) for path in (folder, *paths)):
        return f"user {os.getuid()} must be able to write there and to all files in it: {error}"
    return str(error)


class Half(NamedTuple):
    """A value that waits for its partner, or meets it: of the pair `id`, from `queue`, in the bytes `body`."""

    queue: str
    id: float
    value: float
    body: bytes
    model: str = ""  # the SHA-256 of the model that predicted it, if that is known
    seq: int = 0  # in the database


def csv_line(sample_id: float, y_true: float, y_pred: float) -> bytes:
    """A row of the CSV, its numbers printed so that they read back to the same float."""
    return f"{sample_id!r},{y_true!r},{y_pred!r},{abs(y_true - y_pred)!r}\n".encode()


class MetricLog:
    """The pairs joined so far: in the database the halves that wait and the last rows, in the CSV all rows.

    The database knows how long the CSV was after its last row was synced. Bytes after that are the beginning of rows
    that are due, which are written again, or lines of somebody else.

    Raises OSError or sqlite3.Error where the folder does not take a write; the same call may be made again. Raises
    BlockingIOError where another metric has the folder.
    """

    written: int  # the seq of the last row in the CSV
    first: int  # of the last row before this CSV was begun
    size: int | None  # of the CSV up to that row; None: unknown, with a database that is new or of version 0.1
    ran: float  # seconds, before this start
    clock_saved: float  # the clock, as it was last written to the database

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / CSV_NAME
        self.state_path, self.wal_path = folder / STATE_NAME, folder / WAL
        self.lock = asyncio.Lock()
        self.repeats = self.contradictions = 0
        self.started = self.stopped = time.monotonic()
        self.csv = -1
        self.lock_folder()
        try:
            self.open_state()
        except BlockingIOError:
            os.close(self.folder_descriptor)  # otherwise the next try would find the folder locked
            raise
        (self.ran,) = self.db.execute("SELECT clock FROM csv").fetchone()
        self.clock_saved = self.ran
        self.models = Models(folder / "models.csv")
        self.write_due_rows()

    def close(self) -> None:
        try:
            self.keep_state()
        except (OSError, sqlite3.Error) as error:
            log.error("the unmatched values are lost, %s was taken away: %s", self.state_path, error)
        self.db.close()
        os.close(self.folder_descriptor)

    # --- Joining ---

    def add(self, halves: list[Half]) -> list[tuple[QueuedMessage, str]]:
        """Join the halves and write the rows. Returns the halves that contradict a known value, with the reason.

        When this returns all is synced, in files that are still there.
        """
        self.keep_state()
        contradictions = list[tuple[QueuedMessage, str]]()
        waiting, joined = dict[float, Half](), list[tuple[float, float, float]]()
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:  # commits, or rolls back
            known = self.known_values([half.id for half in halves])
            for half in halves:
                pair = known.setdefault(half.id, {})
                if half.queue not in pair:
                    pair[half.queue] = half.value
                    if len(pair) == 2:
                        joined.append((half.id, pair[Y_TRUE], pair[Y_PRED]))
                        waiting.pop(half.id, None)
                    else:
                        waiting[half.id] = half
                    continue
                self.repeats += 1
                exact = half.queue == Y_TRUE  # a model may answer differently in another batch: there the first counts
                if not math.isclose(pair[half.queue], half.value, rel_tol=0.0 if exact else 1e-9):
                    self.contradictions += 1
                    if exact:
                        contradictions.append((half, f"y_true of id {half.id!r} is {pair[Y_TRUE]!r} already"))
            now = self.clock()
            self.db.executemany("DELETE FROM halves WHERE id = ?", [(sample_id,) for sample_id, _, _ in joined])
            self.db.executemany("INSERT INTO rows (id, y_true, y_pred) VALUES (?, ?, ?)", joined)
            self.db.executemany(
                "INSERT INTO halves (id, queue, value, since, message) VALUES (?, ?, ?, ?, ?)",
                [(half.id, half.queue, half.value, now, half.body) for half in waiting.values()],
            )
            self.db.execute("DELETE FROM rows WHERE seq <= ?", (self.written - KNOWN,))
            self.save_clock(TICK)
        self.write_due_rows()
        self.models.record(halves)
        self.keep_state()
        return contradictions

    def known_values(self, ids: list[float]) -> dict[float, dict[str, float]]:
        """What the database has of these ids: the value from each queue."""
        marks = ",".join("?" * len(ids))
        rows = self.db.execute(f"SELECT id, y_true, y_pred FROM rows WHERE id IN ({marks})", ids)
        known = {sample_id: {Y_TRUE: y_true, Y_PRED: y_pred} for sample_id, y_true, y_pred in rows}
        halves = self.db.execute(f"SELECT id, queue, value FROM halves WHERE id IN ({marks})", ids)
        return known | {sample_id: {queue: value} for sample_id, queue, value in halves}

    @contextmanager
    def clock_running(self) -> Iterator[None]:
        """While there is a connection: during an outage, a partner may wait in its queue."""
        self.started += time.monotonic() - self.stopped
        try:
            yield
        finally:
            self.stopped = time.monotonic()

    def clock(self) -> float:
        """Seconds that a metric has been at work on this folder: a wall clock can jump, and is no stopwatch."""
        return self.ran + time.monotonic() - self.started

    def save_clock(self, step: float) -> None:
        """Write the clock to the database if that was last done more than `step` seconds ago."""
        if (now := self.clock()) > self.clock_saved + step:
            self.db.execute("UPDATE csv SET clock = ?", (now,))
            self.clock_saved = now

    def expired(self, ttl: float) -> list[Half]:
        """The oldest EXPIRED of the halves that have waited for longer than `ttl` seconds."""
        self.keep_state()
        self.save_clock(CLOCK_INTERVAL)  # otherwise the time in which nothing came would not count after a restart
        oldest = "SELECT * FROM halves ORDER BY seq LIMIT ?"  # of all halves, it would take 0.4 s where 3 million wait
        query = f"SELECT queue, id, value, message, '', seq FROM ({oldest}) WHERE since < ?"
        return [Half(*row) for row in self.db.execute(query, (EXPIRED, self.clock() - ttl))]

    def forget(self, halves: list[Half]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:
            self.db.executemany("DELETE FROM halves WHERE seq = ?", [(half.seq,) for half in halves])

    # --- The CSV ---

    def write_due_rows(self) -> None:
        """Append to the CSV the rows that it lacks, until all are synced to a file that is still there."""
        while True:
            if self.csv < 0 or identify(self.path) != self.expected:
                self.open_csv()
            if not (rows := self.rows_due()):
                return
            self.append_to_csv(b"".join(rows.values()))
            if os.fstat(self.csv).st_nlink:  # otherwise it was deleted meanwhile, and the rows go into the next one
                self.remember_written(written=max(rows))

    def rows_due(self) -> dict[int, bytes]:
        """The next lines of the CSV, by their seq."""
        query = "SELECT seq, id, y_true, y_pred FROM rows WHERE seq > ? ORDER BY seq LIMIT ?"
        return {seq: csv_line(*row) for seq, *row in self.db.execute(query, (self.written, CHUNK))}

    def append_to_csv(self, text: bytes) -> None:
        size = (self.size or 0) + len(text)  # calculated, so that a change by somebody else is noticed
        try:
            while text:
                text = text[os.write(self.csv, text) :]
            os.fsync(self.csv)
        except OSError:
            self.close_csv()  # a failed sync proves nothing of what was written: it is written again
            raise
        self.remember_size(size)

    def remember_size(self, size: int) -> None:
        status = os.fstat(self.csv)
        self.size, self.expected = size, (status.st_dev, status.st_ino, size)

    def remember_written(self, written: int) -> None:
        """Remember the CSV's last row and its size. Not synced: after a power cut, `compare` finds the rows again."""
        self.written = written
        self.db.execute("PRAGMA synchronous = NORMAL")
        try:
            self.db.execute("UPDATE csv SET written = ?, size = ?, first = ?", (self.written, self.size, self.first))
        finally:
            self.db.execute("PRAGMA synchronous = FULL")

    def close_csv(self) -> None:
        if self.csv >= 0:
            csv, self.csv = self.csv, -1
            os.close(csv)

    def open_csv(self) -> None:
        """Open the CSV and find out which rows it has; a foreign file is moved aside."""
        self.close_csv()
        self.csv = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o664)
        size = os.fstat(self.csv).st_size
        if os.pread(self.csv, len(HEADER), 0) != HEADER[:size]:
            self.move_aside("another header")
        elif size > len(HEADER):
            self.compare(size)
        else:  # new or emptied: continue with the rows that are due; cut within the header: write all of its rows again
            begun = size in (0, len(HEADER))
            self.first = self.written if begun else self.first
            os.ftruncate(self.csv, 0)
            self.size = 0
            self.append_to_csv(HEADER)
            sync_folder(self.folder)
            self.remember_written(written=self.first)

    def compare(self, size: int) -> None:
        """Decide whether the bytes after the size that is known are rows that are due, or lines of somebody else."""
        known, written = self.size if self.size is not None else max(len(HEADER), size - TAIL), self.written
        if size < known:  # cut short: back to the last row that is whole
            query = "SELECT seq, id, y_true, y_pred FROM rows WHERE seq > ? AND seq <= ? ORDER BY seq DESC"
            for seq, *row in self.db.execute(query, (self.first, self.written)):
                known, self.written = known - len(csv_line(*row)), seq - 1
                if known <= size:
                    break
            if known > size or not self.has_last_row_before(known):
                self.written = written
                self.move_aside("fewer rows than this service remembers")
                return
        start = max(known, size - TAIL)
        beyond = os.pread(self.csv, size - start, start)
        due = self.rows_due()
        if size - known <= TAIL and b"".join(due.values()).startswith(beyond):
            os.ftruncate(self.csv, known)  # what is not known to be on the disk is written again
            self.remember_size(known)
        elif beyond.endswith(b"\n") and self.written == written:
            present = set(beyond.splitlines(keepends=True))
            self.remember_size(size)
            self.remember_written(written=max((seq for seq, text in due.items() if text in present), default=written))
        else:
            self.written = written
            self.move_aside("a last line that this service did not write")

    def has_last_row_before(self, end: int) -> bool:
        """Whether the last row ends there; if it does not, lines were removed elsewhere than at the end."""
        query = "SELECT id, y_true, y_pred FROM rows WHERE seq > ? AND seq = ?"
        row = self.db.execute(query, (self.first, self.written)).fetchone()
        expected = csv_line(*row) if row else HEADER
        return os.pread(self.csv, len(expected), end - len(expected)) == expected

    def move_aside(self, why: str) -> None:
        aside = aside_name(self.path)
        log.warning("%s has %s: moved aside to %s", self.path, why, aside.name)
        self.path.rename(aside)
        self.open_csv()

    # --- The folder and the database ---

    def lock_folder(self) -> None:
        """Keep a second metric out: a lock on the folder lasts as long as the process, whatever is deleted in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BlockingIOError("another metric has it") from None
        self.folder_descriptor = descriptor

    def open_state(self) -> None:
        db = sqlite3.connect(self.state_path, timeout=0, isolation_level=None)
        try:
            db.executescript(SCHEMA)
            if "size" not in {name for _, name, *_ in db.execute("PRAGMA table_info(csv)")}:
                db.executescript(SINCE_VERSION_01)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:  # a metric of version 0.1, or another program that reads
                db.close()
                raise BlockingIOError from None
            raise
        self.written, self.size, self.first = db.execute("SELECT written, size, first FROM csv").fetchone()
        # A file that is not among those which this process has open was put there in this moment, by somebody else.
        state, ours = self.identify_state(), {identify(file)[:2] for file in Path("/dev/fd").iterdir()} - {NO_FILE[:2]}
        self.db, self.state = db, state if ours.issuperset(state) else []

    def identify_state(self) -> list[tuple[int, ...]]:
        """Which files hold what waits: it differs when one of them was taken away or replaced."""
        return [identify(path)[:2] for path in (self.folder, self.state_path, self.wal_path)]

    def keep_state(self) -> None:
        if self.identify_state() != self.state:
            self.restore_state()

    def restore_state(self) -> None:
        """Write the database again, out of the files that are still open, where somebody took these away."""
        former = self.folder_descriptor
        if identify(self.folder)[:2] != identify(former)[:2]:
            self.lock_folder()
            os.close(former)
            self.close_csv()
        kept = self.copy_state(self.state_path.with_suffix(".kept"))
        self.db.close()
        self.db, self.state = kept, []  # everything is in it, whatever happens to the files of the usual names
        while not self.state:
            new = self.state_path.with_suffix(".new")
            self.copy_state(new).close()
            with new.open("rb") as file:
                os.fsync(file)
            ours = identify(new)[:2]
            if self.state_path.exists():
                self.state_path.rename(aside_name(self.state_path))
            self.wal_path.unlink(missing_ok=True)
            new.rename(self.state_path)
            sync_folder(self.folder)
            self.open_state()
            *_, size = identify(self.wal_path)
            if self.state[1:2] != [ours] or size:  # somebody has replaced one of the two in this moment
                self.db.close()
                self.db, self.state = kept, []
        kept.close()
        self.state_path.with_suffix(".kept").unlink(missing_ok=True)
        log.warning("%s was removed or replaced; it is written again, with all unmatched values", self.state_path)

    def copy_state(self, path: Path) -> sqlite3.Connection:
        for old in path.parent.glob(f"{path.name}*"):  # with those that SQLite keeps next to it
            old.unlink()
        copy = sqlite3.connect(path)
        self.db.backup(copy)
        return copy


def identify(path: Path | int) -> tuple[int, int, int]:
    """Which file this is and how long."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return NO_FILE
    return (status.st_dev, status.st_ino, status.st_size)


def aside_name(path: Path) -> Path:
    """A free name next to it, with the time."""
    return path.with_name(f"{path.stem}.{time.strftime('%Y-%m-%dT%H-%M-%S')}.{time.time_ns() % 10**9:09}{path.suffix}")


class Models:
    """`models.csv` (`id,sha256`) for plot: from which id on which model predicted."""

    def __init__(self, path: Path) -> None:
        self.path, self.current, self.due = path, "", 0.0
        with suppress(OSError, ValueError, IndexError):
            self.current = path.read_text().splitlines()[-1].rpartition(",")[2]

    def record(self, halves: Iterable[Half]) -> None:
        """Append a line where another model begins to predict; two at the same time make one line a minute."""
        for half in halves:
            if half.model != self.current and SHA256.fullmatch(half.model) and time.monotonic() > self.due:
                self.due = time.monotonic() + 60
                try:
                    with self.path.open("a") as file:
                        file.write(f"id,sha256\n{half.id!r},{half.model}\n"[0 if file.tell() == 0 else 10 :])
                    self.current = half.model
                except OSError as error:  # the rows are what counts
                    log.warning("plot cannot show the model: %s", error)


class Exporter:
    """Serves metrics of the log to Prometheus, as of the last update."""

    def __init__(self, metric_log: MetricLog, host: str, port: int) -> None:
        """Serve it on this port, in a thread of its own. Raises UnusableError if the port is taken."""
        self.metric_log, self.seen = metric_log, metric_log.written
        self.rows = Counter("metric_rows", "Rows written to the CSV since the start")
        self.waiting = Gauge("metric_halves_waiting", "Values whose partner has not come")
        self.repeats = Gauge("metric_repeats", "Repeated values since the start")
        self.contradictions = Gauge("metric_contradictions", "Repeats that differ from the first value")
        self.last_row = Gauge("metric_last_row_timestamp_seconds", "When the CSV was last written to")
        self.error = Histogram("metric_absolute_error", "Absolute error, in the unit of the target", buckets=BUCKETS)
        self.squared_error = Counter("metric_squared_error", "Sum of the squared errors")
        self.update()
        try:
            server, _ = start_http_server(port, host)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", "") or "not a name of a host"
            raise UnusableError(f"METRICS_PORT={port}, METRICS_HOST={host!r}: {reason}") from None
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # no traceback when a client hangs up
        # Slow clients must not use up the files of this process.
        server.verify_request = lambda *_: threading.active_count() < SCRAPERS  # type: ignore[method-assign]
        server.RequestHandlerClass.timeout = 5  # type: ignore[attr-defined]

    async def update_again_and_again(self) -> None:
        while True:
            with suppress(OSError, sqlite3.Error):  # `keep_trying` logs it
                self.update()
            await asyncio.sleep(TICK)

    def update(self) -> None:
        query = "SELECT seq, abs(y_true - y_pred) FROM rows WHERE seq > ? AND seq <= ?"
        for seq, error in self.metric_log.db.execute(query, (self.seen, self.metric_log.written)):
            self.seen = seq
            self.rows.inc()
            if error <= LARGEST:  # a larger one would make the sums useless for good
                self.error.observe(error)
                self.squared_error.inc(error * error)
        self.waiting.set(*self.metric_log.db.execute("SELECT count(*) FROM halves").fetchone())
        self.repeats.set(self.metric_log.repeats)
        self.contradictions.set(self.metric_log.contradictions)
        self.last_row.set(os.stat(self.metric_log.path).st_mtime)


if __name__ == "__main__":
    run("metric", MetricSettings, main)
