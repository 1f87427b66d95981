"""Guarantees 1 to 3 where the disk does not take a write: metric says so once, waits, and loses nothing."""

from __future__ import annotations

from harness import (
    DRIVER,
    HEADER,
    SERVICES,
    Client,
    Run,
    Service,
    eventually,
    line,
    open_to_all,
    publish,
    rows,
    unavailable,
)

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
OTHER = 10001


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A logs folder on a disk of its own, of 10 MiB."""
    logs = tmp_path / "logs"
    logs.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "logs", logs], check=False).returncode
    ):
        unavailable("may not mount a disk")
    yield logs
    subprocess.run(["umount", "--lazy", logs], check=True)


def remount(logs: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", logs], check=True)


def fill(logs: Path) -> None:
    with (logs / "other").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


@pytest.mark.parametrize("stop", [None, "terminate", "kill"])
def test_a_full_disk_loses_nothing(client: Client, run: Run, small: Path, stop: str | None) -> None:
    """Also if metric is stopped or killed meanwhile."""
    metric = run("metric")
    metric.wait_for_log("connected")
    publish(client, *range(100))
    eventually(lambda: len(rows(small)) == 100)
    fill(small)
    publish(client, *range(100, 3000))
    metric.wait_for_log("cannot write to")
    assert metric.log.count("\n") == 2
    if stop:
        begun = time.monotonic()
        assert getattr(metric, stop)() in (0, None)
        assert time.monotonic() - begun < 2
    remount(small, "size=50m")
    if stop:
        for queue in "y_true", "y_pred":  # until the broker has taken back what the first one held, in its order
            eventually(lambda queue=queue: client.consumers(queue) == 0)  # type: ignore[misc]
        run("metric")
    eventually(lambda: len(rows(small)) >= 3000)
    text = (small / "metric_log.csv").read_text()
    assert text == HEADER + "".join(line(float(sample_id)) for sample_id in range(3000))


def test_a_csv_that_cannot_be_opened_for_a_while_loses_nothing(client: Client, run: Run, tmp_path: Path) -> None:
    """And is the very same when it can."""
    metric = run("metric")
    metric.wait_for_log("connected")
    publish(client, 1)
    eventually(lambda: len(rows(tmp_path / "logs")) == 1)
    csv, away = tmp_path / "logs/metric_log.csv", tmp_path / "away.csv"
    csv.rename(away)
    csv.mkdir()
    publish(client, 2)
    metric.wait_for_log("cannot write to")
    publish(client, 3)
    csv.rmdir()
    away.rename(csv)
    eventually(lambda: csv.read_text() == HEADER + line(1.0) + line(2.0) + line(3.0))
    assert metric.log.count("cannot write to") == 1


def test_a_disk_that_is_read_only_stops_metric_at_its_start_in_one_line(client: Client, run: Run, small: Path) -> None:
    remount(small, "ro")
    metric = run("metric")
    assert metric.wait() == 2
    assert metric.log.count("\n") == 1
    assert "must be able to write there" in metric.log
    remount(small, "rw")
    run("metric").wait_for_log("connected")
    publish(client, 1)
    eventually(lambda: len(rows(small)) == 1)


def start_as_other(run: Run, tmp_path: Path, **env: object) -> Service:
    open_to_all(tmp_path)
    open_folder = tmp_path / "tmp"
    open_folder.mkdir(exist_ok=True)
    open_folder.chmod(0o777)
    path = SERVICES / "metric/src"
    return run("metric", script=DRIVER, USER_ID=OTHER, PYTHONPATH=path, TMPDIR=open_folder, **env)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_folder_of_somebody_else_stops_metric_in_one_line(client: Client, run: Run, tmp_path: Path) -> None:
    first = run("metric")
    first.wait_for_log("connected")
    assert first.terminate() == 0
    metric = start_as_other(run, tmp_path)
    assert metric.wait() == 2
    assert f"user {OTHER} must be able to write there" in metric.log
    assert metric.log.count("\n") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_folder_in_a_closed_one_stops_metric_in_one_line(client: Client, run: Run, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o700)
    metric = start_as_other(run, tmp_path, LOGS_DIR=tmp_path / "logs/of the ward")
    assert metric.wait() == 2
    assert f"user {OTHER} must be able to write there" in metric.log
    assert metric.log.count("\n") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_folder_of_somebody_else_that_the_group_may_write_will_do(client: Client, run: Run, tmp_path: Path) -> None:
    first = run("metric")
    first.wait_for_log("connected")
    publish(client, 1)
    eventually(lambda: len(rows(tmp_path / "logs")) == 1)
    assert first.terminate() == 0
    for path in (tmp_path / "logs", *(tmp_path / "logs").iterdir()):
        os.chown(path, -1, OTHER)
        path.chmod(path.stat().st_mode | 0o070)
    start_as_other(run, tmp_path)
    publish(client, 2)
    eventually(lambda: (tmp_path / "logs/metric_log.csv").read_text() == HEADER + line(1.0) + line(2.0))


def test_a_restart_does_not_read_the_whole_csv(client: Client, run: Run, tmp_path: Path) -> None:
    """Of which a terabyte in the middle is a hole here."""
    csv = tmp_path / "logs/metric_log.csv"
    metric = run("metric")
    metric.wait_for_log("connected")
    publish(client, 1, 2)
    eventually(lambda: len(rows(csv.parent)) == 2)
    metric.kill()
    os.truncate(csv, 2**40)
    with csv.open("a") as file:
        file.write("\n" + line(2.0))
    metric = run("metric")
    publish(client, 3)
    size = 2**40 + 1 + len(line(2.0) + line(3.0))
    eventually(lambda: csv.stat().st_size == size)
    with csv.open("rb") as file:
        file.seek(2**40 + 1)
        assert file.read().decode() == line(2.0) + line(3.0)
    assert metric.terminate() == 0
