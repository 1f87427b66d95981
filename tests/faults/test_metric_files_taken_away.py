"""Guarantees 2 and 7 where somebody takes the files of metric away: a crash loses nothing, no second one starts."""

from __future__ import annotations

from faults.take_away import WAYS, replace_folder
from harness import Client, Run, Service, eventually, line, publish, rows

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
BEFORE, DURING, AFTER = range(1, 31), range(31, 61), range(61, 91)  # ids, by when their label comes


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def labels(client: Client, logs: Path, ids: range) -> None:
    """Publish labels, and return when metric has them: a pair that comes after them has made its row."""
    for sample_id in ids:
        client.publish("y_true", {"id": sample_id, "body": sample_id + 0.5})
    marker = 1000.0 + ids[0]
    publish(client, marker)
    eventually(lambda: marker in {row[0] for row in rows(logs)}, "the marker")


def predictions(client: Client, *ids: int) -> None:
    for sample_id in ids:
        client.publish("y_pred", {"id": sample_id, "body": sample_id - 0.25})


def expect_rows_of(logs: Path, *ids: range) -> None:
    expected = sorted(line(float(sample_id)) for some in ids for sample_id in some)

    def found() -> list[str]:
        parts = sorted(logs.parent.glob("logs*/metric_log*.csv"))
        return sorted(text for part in parts for text in part.read_text().splitlines(keepends=True)[1:])

    def without_markers() -> bool:
        return [text for text in found() if float(text.split(",")[0]) < 1000] == expected

    eventually(without_markers, f"{len(expected)} rows")
    time.sleep(0.5)
    assert without_markers()


@pytest.mark.parametrize("take_away", WAYS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
def test_labels_that_wait_outlive_files_that_are_taken_away(
    client: Client, run: Run, logs: Path, take_away: Callable[[Path], None], idle: bool
) -> None:
    """Those from before, and those from after; also where nothing comes between that and the crash."""
    metric = run("metric")
    metric.wait_for_log("connected")
    shutil.copytree(logs, logs.parent / "copy")
    labels(client, logs, BEFORE)
    take_away(logs)
    if idle:
        metric.wait_for_log("is written again")
        time.sleep(0.5)
    else:
        labels(client, logs, DURING)
    assert metric.log.count("is written again") == 1
    second = run("metric")
    second.wait_for_log("another metric writes")
    second.kill()
    metric.kill()
    metric = run("metric")
    metric.wait_for_log("connected")
    labels(client, logs, AFTER)
    predictions(client, *BEFORE, *([] if idle else DURING), *AFTER)
    expect_rows_of(logs, BEFORE, range(0) if idle else DURING, AFTER)


def test_a_folder_that_another_metric_has_taken_is_waited_for(client: Client, run: Run, logs: Path) -> None:
    """The folder was renamed, and another metric runs on the new one of that name: one line, and nothing is lost."""
    first: Service = run("metric")
    first.wait_for_log("connected")
    labels(client, logs, BEFORE)
    first.signal(signal.SIGSTOP)  # it must not take the new folder before the other does
    replace_folder(logs)
    second = run("metric", AMQP_URL="amqp://guest:guest@127.0.0.1:1/%2F")
    second.wait_for_log("no connection")
    first.signal(signal.SIGCONT)
    first.wait_for_log("cannot write to")
    time.sleep(2)
    second.kill()
    labels(client, logs, DURING)
    first.kill()
    run("metric").wait_for_log("connected")
    predictions(client, *BEFORE, *DURING)
    expect_rows_of(logs, BEFORE, DURING)
