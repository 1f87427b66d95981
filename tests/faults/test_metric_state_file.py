"""Guarantees 1, 2 and 9 in the state file: that of version 0.1, time in which nothing comes, a note that fails."""

from __future__ import annotations

from harness import DRIVER, SERVICES, Client, Clock, Run, eventually, line, rows
from metric import Half, MetricLog

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

HALF = Half("y_true", 1.0, 1.5, b'{"id":1,"body":1.5}')
OF_VERSION_01 = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE halves (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id REAL UNIQUE, queue TEXT, value REAL, since REAL, message BLOB);
    CREATE TABLE rows (seq INTEGER PRIMARY KEY, id REAL UNIQUE, y_true REAL, y_pred REAL);
    CREATE TABLE csv (written INTEGER);
"""


@pytest.fixture
def old_state(tmp_path: Path) -> Path:
    """The folder of a metric of version 0.1: one row in the CSV, one that it lacks, and two halves, one an hour old."""
    (tmp_path / "metric_log.csv").write_text(f"id,y_true,y_pred,absolute_error\n{line(1.0)}")
    with closing(sqlite3.connect(tmp_path / "metric_state.sqlite3")) as database, database:
        database.executescript(OF_VERSION_01)
        database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", [(1, 1.0, 1.5, 0.75), (2, 2.0, 2.5, 1.75)])
        database.execute("INSERT INTO csv VALUES (1)")
        for sample_id, age in (3.0, 3600), (4.0, 0):
            values = (
                sample_id,
                "y_true",
                sample_id + 0.5,
                time.time() - age,
                json.dumps({"id": sample_id, "body": sample_id + 0.5}).encode(),
            )
            database.execute("INSERT INTO halves (id, queue, value, since, message) VALUES (?, ?, ?, ?, ?)", values)
    return tmp_path


def test_the_state_of_version_01_is_taken_over(old_state: Path) -> None:
    """Rows, halves, and for how long these have waited; each start after the first finds the same."""
    for _ in range(2):
        log = MetricLog(old_state)
        assert [row[0] for row in rows(old_state)] == [1.0, 2.0]
        assert [half.id for half in log.expired(1800)] == [3.0]
        assert log.expired(7200) == []
        log.close()
    log = MetricLog(old_state)
    log.add([Half("y_pred", sample_id, sample_id - 0.25, b"") for sample_id in (1.0, 2.0, 3.0, 4.0)])
    log.close()
    assert [row[0] for row in rows(old_state)] == [1.0, 2.0, 3.0, 4.0]


def test_a_crash_while_the_state_of_version_01_is_taken_over(old_state: Path, tmp_path: Path) -> None:
    """Whatever was on the disk at the time, the next start takes it over."""
    seen: list[Path] = []

    def copy(_: str) -> None:
        seen.append(tmp_path / f"copy-{len(seen)}")
        seen[-1].mkdir()
        for path in (*old_state.glob("metric_state*"), old_state / "metric_log.csv"):
            shutil.copy(path, seen[-1])

    class Watched(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            self.set_trace_callback(copy)
            return super().executescript(script)

    connect, sqlite3.connect = sqlite3.connect, lambda path, **kwargs: connect(path, factory=Watched, **kwargs)  # type: ignore[assignment]
    try:
        MetricLog(old_state).close()
    finally:
        sqlite3.connect = connect
    assert len(seen) > 5
    for folder in seen:
        log = MetricLog(folder)
        assert [half.id for half in log.expired(1800)] == [3.0], folder
        log.close()


def test_time_counts_while_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half does not wait longer because metric was restarted now and then: it loses two minutes each time at most."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = MetricLog(tmp_path)
    log.add([HALF])
    for _ in range(3):
        for _ in range(1800):
            now += 0.5
            assert log.expired(3600) == []
        log.db.close()  # as after a crash
        log.close()
        log = MetricLog(tmp_path)
    assert [half.id for half in log.expired(3 * (900 - 120))] == [1.0]
    log.close()


def test_a_note_that_fails_does_not_leave_later_values_unsynced(tmp_path: Path) -> None:
    """The row's number is noted without a sync; where that fails, the next value must be synced all the same."""
    log = MetricLog(tmp_path)

    def deny(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_UPDATE and denying else sqlite3.SQLITE_OK

    denying = True
    log.db.set_authorizer(deny)
    with pytest.raises(sqlite3.DatabaseError):
        log.remember_written(1)
    denying = False
    assert log.db.execute("PRAGMA synchronous").fetchone() == (2,)
    log.close()


@pytest.mark.broker
def test_twenty_thousand_halves_expire_in_a_few_seconds(client: Client, run: Run, tmp_path: Path) -> None:
    stopwatch = Clock(tmp_path / "stopwatch")
    env = {"PYTHONPATH": SERVICES / "metric/src", "STOPWATCH": stopwatch.path, "PENDING_TTL": 3600}
    metric = run("metric", script=DRIVER, **env)
    metric.wait_for_log("connected")
    channel = client.connection.channel()  # without confirms, which would take longer than the test
    for sample_id in range(20_000):
        channel.basic_publish("", "y_true", b'{"id":%d,"body":1}' % sample_id)
    eventually(lambda: client.count("y_true") == 0)
    time.sleep(1)
    stopwatch.set(3700)
    begun = time.monotonic()
    eventually(lambda: client.count("dead_letters") == 20_000, "dead letters")
    assert time.monotonic() - begun < 10
