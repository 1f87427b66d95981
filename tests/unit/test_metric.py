"""The join and the CSV, on a real disk, without a broker."""

import metric
from harness import HEADER, rows
from metric import Half, MetricLog

import asyncio
import errno
import math
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FILL = "PRAGMA max_page_count = 1; CREATE TABLE full (x); CREATE TABLE another (x);"
finite = st.floats(allow_nan=False, allow_infinity=False)


def add(log: MetricLog, *halves: tuple[str, float, float]) -> list[str | None]:
    """The reason for each of the halves why it is not taken, None where it is."""
    given = [
        Half(queue, sample_id, value, b"%s %r %r" % (queue.encode(), sample_id, value))
        for queue, sample_id, value in halves
    ]
    reasons = {id(half): reason for half, reason in log.add(given)}
    return [reasons.get(id(half)) for half in given]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def log(logs: Path) -> Iterator[MetricLog]:
    log = MetricLog(logs)
    yield log
    log.close()


def pairs(n: int, start: int = 0) -> list[tuple[str, float, float]]:
    return [
        (q, float(i), i / 3 if q == "y_true" else i / 7) for i in range(start, start + n) for q in ("y_true", "y_pred")
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), values=st.dictionaries(st.integers(-9, 9).map(float), st.tuples(finite, finite), max_size=8))
def test_any_order_repetition_and_batching_gives_one_row_per_pair(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, values: dict[float, tuple[float, float]]
) -> None:
    halves = [
        (queue, sample_id, pair[i])
        for sample_id, pair in values.items()
        for i, queue in enumerate(("y_true", "y_pred"))
    ]
    repeats = data.draw(st.lists(st.sampled_from(halves), max_size=20)) if halves else []
    stream = data.draw(st.permutations(halves + repeats))
    logs = tmp_path_factory.mktemp("logs")
    log = MetricLog(logs)
    while stream:
        n = data.draw(st.integers(1, len(stream)))
        assert add(log, *stream[:n]) == [None] * n
        stream = stream[n:]
        if data.draw(st.booleans()):  # as after a kill
            log.close()
            log = MetricLog(logs)
    log.close()
    logged = rows(logs)
    assert {row[0]: row[1:3] for row in logged} == values
    assert len(logged) == len(values)
    assert all(error == abs(y_true - y_pred) for _, y_true, y_pred, error in logged)


def test_the_first_of_two_contradicting_halves_wins(log: MetricLog, logs: Path) -> None:
    (first,) = add(log, ("y_true", 1.0, 2.0))
    (second,) = add(log, ("y_true", 1.0, 3.0))
    assert first is None
    assert second is not None
    assert "2.0" in second
    assert add(log, ("y_pred", 1.0, 5.0), ("y_true", 1.0, 2.0), ("y_pred", 1.0, 5.0)) == [None] * 3
    assert add(log, ("y_true", 1.0, 3.0)).count(None) == 0  # also when the row is written
    assert add(log, ("y_pred", 1.0, 5.1)) == [None]  # a model may answer differently in another batch
    assert (log.repeats, log.contradictions) == (5, 3)
    assert rows(logs) == [(1.0, 2.0, 5.0, 3.0)]


def test_labels_that_differ_in_their_last_digits_differ(log: MetricLog) -> None:
    """Such as times."""
    first, second = add(log, ("y_true", 1.0, 1699541234.5), ("y_true", 1.0, 1699541235.0))
    assert first is None
    assert second is not None


def test_rows_are_written_although_the_model_cannot_be_noted(
    log: MetricLog, logs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (logs / "models.csv").mkdir()
    for sample_id in 1.0, 2.0:
        log.add([Half("y_true", sample_id, 2.0, b""), Half("y_pred", sample_id, 5.0, b"", "a" * 64)])
    assert rows(logs) == [(1.0, 2.0, 5.0, 3.0), (2.0, 2.0, 5.0, 3.0)]
    (warning,) = caplog.messages
    assert "plot cannot show the model: " in warning


def test_the_clock_stands_during_an_outage(log: MetricLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner may wait in its queue."""
    now = log.started
    monkeypatch.setattr("metric.time.monotonic", lambda: now)
    for connected, outage in (10, 1000), (5, 7), (1, 0):
        with log.clock_running():
            now += connected
        now += outage
    with log.clock_running():
        assert log.clock() == pytest.approx(16)


def test_what_waits_outlives_a_stop_right_after_its_file_was_taken_away(logs: Path) -> None:
    log = MetricLog(logs)
    add(log, ("y_true", 90.0, 1.0))
    (logs / "metric_state.sqlite3").unlink()
    log.close()
    log = MetricLog(logs)
    add(log, ("y_pred", 90.0, 2.0))
    log.close()
    assert rows(logs) == [(90.0, 1.0, 2.0, 1.0)]


def test_a_stop_that_cannot_write_the_state_again_says_what_is_lost(
    logs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = MetricLog(logs)
    (logs / "metric_state.sqlite3").unlink()
    monkeypatch.setattr(log, "copy_state", fail)
    log.close()
    (message,) = caplog.messages
    assert "the unmatched values are lost" in message
    assert "No space left" in message


def test_a_prediction_that_differs_in_the_last_bit_is_a_repeat(log: MetricLog) -> None:
    assert add(log, ("y_pred", 1.0, 0.1 + 0.2), ("y_pred", 1.0, 0.3)) == [None, None]


def test_an_error_too_large_for_a_float_is_still_a_row(log: MetricLog, logs: Path) -> None:
    add(log, ("y_true", 1.0, 1.7e308), ("y_pred", 1.0, -1.7e308))
    assert rows(logs) == [(1.0, 1.7e308, -1.7e308, math.inf)]


def test_a_csv_cut_anywhere_is_completed(logs: Path) -> None:
    log = MetricLog(logs)
    add(log, *pairs(5))
    log.close()
    path = logs / "metric_log.csv"
    whole = path.read_bytes()
    for size in [*range(1, len(HEADER.encode())), *range(len(HEADER.encode()) + 1, len(whole))]:
        path.write_bytes(whole[:size])
        MetricLog(logs).close()
        assert path.read_bytes() == whole, f"cut to {size} bytes"


@pytest.mark.parametrize("running", [True, False])
def test_a_csv_taken_away_or_emptied_is_begun_anew(logs: Path, running: bool) -> None:
    log = MetricLog(logs)
    path = logs / "metric_log.csv"
    ways: list[Callable[[], object]] = [
        path.unlink,
        lambda: path.write_bytes(b""),
        lambda: path.rename(logs / "old.csv"),
    ]
    for i, take_away in enumerate(ways):
        add(log, *pairs(3, 10 * i))
        if not running:
            log.close()
        take_away()
        if not running:
            log = MetricLog(logs)
        add(log, *pairs(1, 10 * i + 5))
        assert [row[0] for row in rows(logs)] == [10 * i + 5]
    log.close()


@pytest.mark.parametrize(
    "foreign",
    [b"a,b\n1,2\n", b"id,y_true,y_pred,absolute_error\r\n", b"\0" * 99, b"id,y_true,y_pred,absolute_error\n1,"],
)
def test_a_file_that_is_not_ours_is_moved_aside_whole(
    logs: Path, caplog: pytest.LogCaptureFixture, foreign: bytes
) -> None:
    logs.mkdir()
    (logs / "metric_log.csv").write_bytes(foreign)
    log = MetricLog(logs)
    add(log, *pairs(2))
    log.close()
    (aside,) = logs.glob("metric_log.*.csv")
    assert aside.read_bytes() == foreign
    assert len(rows(logs)) == 2
    assert aside.name in caplog.text


@pytest.mark.parametrize("rows_cut", [1, 2, 4])
def test_a_csv_cut_after_a_clean_end_is_completed(logs: Path, rows_cut: int) -> None:
    log = MetricLog(logs)
    for i in range(4):
        add(log, *pairs(1, i))
    log.close()
    path = logs / "metric_log.csv"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: 5 - rows_cut]) + lines[5 - rows_cut][:4])
    log = MetricLog(logs)
    add(log, *pairs(1, 9))
    log.close()
    assert path.read_bytes().startswith(whole)
    assert [row[0] for row in rows(logs)] == [0, 1, 2, 3, 9]


@pytest.mark.parametrize("added", [b"1.0,made,up,line\n", b"1.0,%r,%r,0.0\n" % (1 / 7, 1 / 7), b"x" * 9000 + b"\n"])
@pytest.mark.parametrize("running", [True, False])
def test_a_line_added_by_hand_repeats_nothing(logs: Path, added: bytes, running: bool) -> None:
    log = MetricLog(logs)
    add(log, *pairs(3))
    if not running:
        log.close()  # as if killed
    with (logs / "metric_log.csv").open("ab") as file:
        file.write(added)
    if not running:
        log = MetricLog(logs)
    add(log, *pairs(1, 5))
    log.close()
    lines = (logs / "metric_log.csv").read_bytes().splitlines(keepends=True)
    assert lines[4] == added
    assert [line.split(b",")[0] for line in lines[1:4] + lines[5:]] == [b"0.0", b"1.0", b"2.0", b"5.0"]


def test_a_folder_that_cannot_be_written_for_a_while_costs_no_descriptor(log: MetricLog, logs: Path) -> None:
    add(log, *pairs(1))
    path = logs / "metric_log.csv"
    path.rename(logs / "elsewhere.csv")
    path.mkdir()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            add(log, *pairs(1, 1))
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    path.rmdir()
    add(log, *pairs(1, 1))
    assert [row[0] for row in rows(logs)] == [1]


def test_lines_that_somebody_added_stay_and_nothing_is_written_twice(logs: Path) -> None:
    log = MetricLog(logs)
    add(log, *pairs(3))
    log.close()  # as if killed: what the database knows of the CSV is one batch old
    with (logs / "metric_log.csv").open("ab") as file:
        file.write(b"77.5,1.0,2.0,1.0\n")
    log = MetricLog(logs)
    add(log, *pairs(1, 5))
    log.close()
    assert [row[0] for row in rows(logs)] == [0, 1, 2, 77.5, 5]


def test_only_the_last_rows_stay_known(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metric.KNOWN >= 1_000_000
    monkeypatch.setattr(metric, "KNOWN", 10)
    log = MetricLog(logs)
    for i in range(30):
        add(log, *pairs(1, i))
    (known,) = log.db.execute("SELECT count(*) FROM rows").fetchone()
    assert 10 <= known <= 12
    log.close()
    assert len(rows(logs)) == 30


def test_a_half_that_waited_too_long_comes_out_with_its_own_bytes(
    log: MetricLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time that metric has been running: a wall clock that jumps expires nothing."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000)
    add(log, ("y_true", 1.0, 2.0))
    monkeypatch.setattr(time, "monotonic", lambda: now + 2000)
    monkeypatch.setattr(time, "time", lambda: 1e10)
    add(log, ("y_pred", 2.0, 3.0))
    assert log.expired(1001) == []
    (half,) = log.expired(500)
    assert (half.queue, half.body) == ("y_true", b"y_true 1.0 2.0")
    assert log.expired(500) == [half]  # until told to forget it
    add(log, ("y_pred", 1.0, 2.0), ("y_true", 3.0, 4.0))  # the other half comes all the same, and a new one after it
    log.forget([half])
    assert log.expired(500) == []
    monkeypatch.setattr(time, "monotonic", lambda: now + 3000)
    assert [half.queue for half in log.expired(500)] == ["y_pred", "y_true"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda logs: sqlite3.connect(logs / "garbage").execute("SELECT * FROM rows"), "sqlite3 is damaged"),
        (lambda logs: os.write(os.open("/dev/full", os.O_WRONLY), b"x"), "the disk is full"),
        (lambda _: sqlite3.connect(":memory:").executescript(FILL), "the disk is full: database or disk is full"),
        (lambda logs: (logs / ("full" + "x" * 300)).touch(), "File name too long"),
        (lambda logs: os.read(os.open("/proc/self/mem", os.O_RDONLY), 1), "Input/output error"),
        (lambda logs: (logs / "no folder" / "x").touch(), "No such file or directory"),
    ],
    ids=["damaged", "full", "full database", "a name with full", "an error of the disk", "gone"],
)
def test_why_a_write_fails_is_said(
    log: MetricLog,
    logs: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    operation: Callable[[Path], object],
    message: str,
) -> None:
    monkeypatch.setattr(metric, "RETRY", 0.01)
    (logs / "garbage").write_bytes(b"garbage" * 1000)
    operations = iter([operation, operation, lambda _: "done"])
    broker: Any = SimpleNamespace(well=True)
    assert asyncio.run(metric.keep_trying(broker, log, lambda: next(operations)(logs))) == "done"
    (text,) = (record.getMessage() for record in caplog.records)
    assert text.startswith(f"cannot write to {logs}: ")
    assert message in text
    assert "must be able to write" not in text
    assert broker.well


def test_a_second_log_on_the_folder_is_kept_out(log: MetricLog, logs: Path) -> None:
    with pytest.raises(BlockingIOError):
        MetricLog(logs)


def test_a_batch_costs_two_syncs_and_no_more_reading_when_the_log_is_long(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CSV's sync is counted here, the database's is its transaction; at a start only the end of the CSV is read."""
    log = MetricLog(logs)
    add(log, *pairs(2000))
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)
    add(log, *pairs(500, 5000))
    assert len(syncs) == 1
    log.close()
    read: list[int] = []
    pread = os.pread

    def counting(fd: int, n: int, at: int) -> bytes:
        read.append(n)
        return pread(fd, n, at)

    monkeypatch.setattr(os, "pread", counting)
    MetricLog(logs).close()
    assert sum(read) < 10_000


def test_a_full_disk_in_the_middle_of_a_line_loses_nothing(
    log: MetricLog, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(log, *pairs(1))
    write = os.write
    written: list[int] = []

    def short(fd: int, text: bytes) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(write(fd, text[: len(text) // 2]))
        return written[0]

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        add(log, *pairs(4, 1))
    monkeypatch.setattr(os, "write", write)
    assert add(log, *pairs(4, 1)) == [None] * 8  # the same batch again
    assert [row[0] for row in rows(logs)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("running", [True, False])
def test_a_csv_with_fewer_rows_than_are_remembered_is_moved_aside(logs: Path, running: bool) -> None:
    """The state file was removed, and later somebody has kept a part of the CSV only."""
    log = MetricLog(logs)
    add(log, *pairs(100))
    log.close()
    for path in logs.glob("metric_state*"):
        path.unlink()
    log = MetricLog(logs)
    add(log, *pairs(5, 1000))
    path = logs / "metric_log.csv"
    kept = b"".join(path.read_bytes().splitlines(keepends=True)[:50])
    if not running:
        log.close()
    path.write_bytes(kept)
    if not running:
        log = MetricLog(logs)
    add(log, *pairs(3, 2000))
    log.close()
    assert [sample_id for sample_id, *_ in rows(logs)] == [2000.0, 2001.0, 2002.0]
    (aside,) = logs.glob("metric_log.*.csv")
    assert aside.read_bytes() == kept


def test_what_waits_is_not_read_to_find_what_has_expired(log: MetricLog, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    add(log, *[("y_true", float(i), 1.0) for i in range(1000)])
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000)
    for start in range(1000, 30_000, 1000):
        add(log, *[("y_true", float(i), 1.0) for i in range(start, start + 1000)])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 100

    for ttl, expired in (2000, 0), (500, metric.EXPIRED):
        steps = 0
        log.db.set_progress_handler(count, 100)
        assert len(log.expired(ttl)) == expired
        assert 0 < steps < 30_000


def test_a_csv_cut_right_after_its_sync_is_completed(
    log: MetricLog, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut is not taken for metric's own doing: the next row would be glued to half a line."""
    add(log, *pairs(3))
    fsync, cut = os.fsync, list[int]()

    def cutting(descriptor: int) -> None:
        fsync(descriptor)
        if descriptor == log.csv and not cut:
            cut.append(os.fstat(descriptor).st_size - 5)
            os.truncate(logs / "metric_log.csv", cut[0])

    monkeypatch.setattr(os, "fsync", cutting)
    add(log, *pairs(1, 3))
    add(log, *pairs(1, 4))
    assert cut
    assert [row[0] for row in rows(logs)] == [0, 1, 2, 3, 4]


def test_what_a_failed_sync_left_is_written_again(log: MetricLog, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cache proves nothing after it: the same bytes have to be written and synced once more."""
    add(log, *pairs(2))
    written, synced = list[bytes](), list[int]()
    write, fsync = os.write, os.fsync

    def failing_once(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    def recording(descriptor: int, text: bytes) -> int:
        written.append(bytes(text))
        return write(descriptor, text)

    monkeypatch.setattr(os, "fsync", failing_once)
    monkeypatch.setattr(os, "write", recording)
    with pytest.raises(OSError, match="Input/output error"):
        add(log, *pairs(2, 2))
    assert add(log, *pairs(2, 2)) == [None] * 4  # the same batch again
    assert len(written) == len(synced) == 2
    assert written[0] == written[1]
    assert [row[0] for row in rows(logs)] == [0, 1, 2, 3]


@pytest.mark.parametrize("order", ["descending", "shuffled", "by error"])
@pytest.mark.parametrize("running", [True, False])
def test_a_csv_that_somebody_sorted_repeats_no_row(logs: Path, order: str, running: bool) -> None:
    log = MetricLog(logs)
    add(log, *pairs(500))
    if not running:
        log.close()
    path = logs / "metric_log.csv"
    header, *lines = path.read_text().splitlines(keepends=True)
    if order == "shuffled":
        random.Random(1).shuffle(lines)
    else:
        lines.sort(key=lambda text: float(text.split(",")[0 if order == "descending" else 3]), reverse=True)
    other = logs / "sorted.csv"
    other.write_text("".join([header, *lines]))
    other.replace(path)
    if not running:
        log = MetricLog(logs)
    add(log, *pairs(20, 500))
    log.close()
    ids = [row[0] for row in rows(logs)]
    assert sorted(ids) == [float(i) for i in range(520)]


@pytest.mark.parametrize("removed", [0, 10, 18, 19])
@pytest.mark.parametrize("running", [True, False])
def test_a_csv_from_which_somebody_removed_a_line_repeats_no_row(logs: Path, removed: int, running: bool) -> None:
    """All lines have the same length, so the file has the size of one whose last row was cut."""
    log = MetricLog(logs)
    for i in range(20):
        add(log, ("y_true", 100.0 + i, 2.0), ("y_pred", 100.0 + i, 1.0))
    if not running:
        log.close()
    path = logs / "metric_log.csv"
    header, *lines = path.read_text().splitlines(keepends=True)
    del lines[removed]
    path.write_text("".join([header, *lines]))
    if not running:
        log = MetricLog(logs)
    add(log, ("y_true", 200.0, 2.0), ("y_pred", 200.0, 1.0))
    log.close()
    texts = [file.read_text() for file in logs.glob("metric_log*.csv")]
    for text in (*lines, "200.0,2.0,1.0,1.0\n"):
        assert sum(whole.count(text) for whole in texts) == 1
    assert len(texts) == (1 if removed == 19 else 2)


def test_a_state_that_another_program_has_open_is_waited_for(logs: Path) -> None:
    MetricLog(logs).close()
    other = sqlite3.connect(logs / "metric_state.sqlite3")
    other.execute("SELECT * FROM csv").fetchall()
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            MetricLog(logs)
    other.close()
    MetricLog(logs).close()


@pytest.mark.parametrize(
    "take_away",
    [
        lambda logs: [path.unlink() for path in logs.glob("metric_state.sqlite3")],
        lambda logs: [path.unlink() for path in logs.glob("metric_state.sqlite3-wal")],
        lambda logs: [path.unlink() for path in logs.glob("metric_state.sqlite3*")],
        lambda logs: shutil.copy(logs / "metric_state.sqlite3", logs / "x").replace(logs / "metric_state.sqlite3"),
        lambda logs: [step(logs) for step in (lambda path: path.rename(path.with_name("old")), os.mkdir)],
        lambda logs: [step(logs) for step in (shutil.rmtree, os.mkdir)],
    ],
    ids=["deleted", "wal deleted", "all deleted", "replaced by a copy", "folder replaced", "folder deleted"],
)
def test_a_state_that_is_taken_away_is_written_again_before_anything_is_acknowledged(
    logs: Path, take_away: Callable[[Path], object]
) -> None:
    child = os.fork()
    if child == 0:
        log = MetricLog(logs)
        add(log, *pairs(3), ("y_true", 90.0, 1.0))
        take_away(logs)
        add(log, ("y_true", 91.0, 1.0), *pairs(1))
        try:
            MetricLog(logs)
        except BlockingIOError:  # a second metric still waits
            os._exit(0)  # as if killed
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    log = MetricLog(logs)
    add(log, ("y_pred", 90.0, 2.0), ("y_pred", 91.0, 2.0), *pairs(1))
    log.close()
    assert [row[0] for row in rows(logs)][-2:] == [90.0, 91.0]
    assert [row[0] for row in rows(logs)].count(0.0) <= 1


@pytest.mark.parametrize("names", [("",), ("-wal",), ("", "-wal")], ids=["database", "wal", "both"])
def test_a_state_that_is_replaced_while_it_is_written_again_is_written_once_more(
    logs: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """By an older copy, at the last moment before it is opened, twice."""
    log = MetricLog(logs)
    add(log, ("y_true", 80.0, 1.0))
    old = {name: Path(f"{log.state_path}{name}").read_bytes() for name in names}
    add(log, *pairs(3), ("y_true", 90.0, 1.0))
    real, times = sqlite3.connect, iter([1, 2])

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        if path == log.state_path and next(times, None):
            for name, content in old.items():
                (logs / "older").write_bytes(content)
                (logs / "older").rename(f"{path}{name}")
        return real(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    log.state_path.unlink()
    add(log, ("y_pred", 90.0, 2.0), ("y_pred", 80.0, 2.0))
    add(log, *pairs(3))  # it knows which rows are there
    log.close()
    add(log := MetricLog(logs), *pairs(3))
    log.close()
    assert sorted(row[0] for row in rows(logs)) == [0, 1, 2, 80, 90]
    assert next(times, None) is None
    assert not [*logs.glob("metric_state.new*"), *logs.glob("metric_state.kept*")]


@pytest.mark.parametrize("names", [("",), ("-wal",), ("", "-wal")], ids=["database", "wal", "both"])
def test_a_state_that_is_replaced_while_metric_starts_is_written_again(
    logs: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """By an older copy, at the first moment after it was opened."""
    log = MetricLog(logs)
    add(log, *pairs(1))
    old = {name: Path(f"{log.state_path}{name}").read_bytes() for name in names}
    add(log, ("y_true", 90.0, 1.0))
    log.close()
    real, times = sqlite3.connect, iter([1])

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql.startswith("SELECT written") and next(times, None):
                for name, content in old.items():
                    (logs / "older").write_bytes(content)
                    (logs / "older").rename(f"{log.state_path}{name}")
            return super().execute(sql, *arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: real(path, factory=Connection, **options))
    child = os.fork()
    if child == 0:
        add(MetricLog(logs), ("y_true", 91.0, 1.0))
        os._exit(0)  # as if killed
    assert os.waitpid(child, 0)[1] == 0
    monkeypatch.undo()
    add(log := MetricLog(logs), ("y_pred", 90.0, 2.0), ("y_pred", 91.0, 2.0), *pairs(1))
    log.close()
    assert sorted(row[0] for row in rows(logs)) == [0, 90, 91]


def test_a_state_that_comes_back_after_a_failed_try_to_write_it_again_is_not_taken_for_the_open_one(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricLog(logs)
    add(log, ("y_true", 80.0, 1.0))
    away = [path.rename(logs / f"away{i}") for i, path in enumerate((log.state_path, log.wal_path))]

    def fail(_: Path) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(metric, "sync_folder", fail)
        with pytest.raises(OSError, match="no space"):
            add(log, ("y_true", 90.0, 1.0))
    for path, former in zip(away, (log.state_path, log.wal_path), strict=True):
        path.rename(former)
    add(log, ("y_true", 90.0, 1.0))
    log.close()
    add(log := MetricLog(logs), ("y_pred", 80.0, 2.0), ("y_pred", 90.0, 2.0))
    log.close()
    assert sorted(row[0] for row in rows(logs)) == [80, 90]
