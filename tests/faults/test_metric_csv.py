"""Guarantees 1 and 3: whatever happens to the CSV, it ends up whole, with each row once, and no byte is overwritten."""

from __future__ import annotations

from harness import HEADER, Client, Run, eventually, line, publish

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker


LINE = len(line(1.0))


def metric_log(logs: Path) -> str:
    path = logs / "metric_log.csv"
    return path.read_text() if path.exists() else ""


def aside(logs: Path) -> list[Path]:
    return list(logs.glob("metric_log.*.csv"))


class Folder:
    """A metric on its logs folder, with five rows in the CSV."""

    def __init__(self, client: Client, run: Run, logs: Path) -> None:
        self.client, self.logs, self.path = client, logs, logs / "metric_log.csv"
        self.start = lambda: run("metric", LOGS_DIR=logs)
        self.metric = self.start()
        self.metric.wait_for_log("connected")
        publish(client, *range(1, 6))
        self.expect(range(1, 6))
        client.publish("y_pred", b"")  # metric is done with the five, not only about to sync them, when it rejects this
        client.take("dead_letters", 1)

    def expect(self, ids: Iterator[float] | range, before: str = HEADER) -> None:
        expected = before + "".join(line(float(sample_id)) for sample_id in ids)
        eventually(lambda: metric_log(self.logs) == expected, f"{expected!r}\n(has {metric_log(self.logs)!r})", 10)


@pytest.fixture
def folder(client: Client, run: Run, tmp_path: Path) -> Folder:
    return Folder(client, run, tmp_path / "logs")


def change(folder: Folder, running: bool, act: Callable[[], object], *, killed: bool = False) -> None:
    """Do it to the CSV while metric runs or while it does not, and publish another pair after."""
    if running:
        act()
    else:
        if killed:
            folder.metric.kill()
        else:
            assert folder.metric.terminate() == 0
        act()
        folder.metric = folder.start()
    publish(folder.client, 6)


states = pytest.mark.parametrize("running", [True, False], ids=["while running", "while stopped"])


@states
@pytest.mark.parametrize("text", ["", None], ids=["emptied", "deleted"])
def test_an_absent_or_empty_csv_is_begun_anew(folder: Folder, running: bool, text: str | None) -> None:
    change(folder, running, lambda: folder.path.unlink() if text is None else folder.path.write_text(text))
    folder.expect(range(6, 7))


@states
def test_a_csv_with_another_header_is_moved_aside(folder: Folder, running: bool) -> None:
    change(folder, running, lambda: folder.path.write_text("time,value\n1,2\n"))
    folder.expect(range(6, 7))
    (moved,) = aside(folder.logs)
    assert moved.read_text() == "time,value\n1,2\n"
    folder.metric.wait_for_log(moved.name)


def append(folder: Folder, text: str) -> None:
    with folder.path.open("a") as file:
        file.write(text)


@states
@pytest.mark.parametrize(
    "foreign",
    [
        "a note\n",
        "2.0,made,up,line\n",
        line(2.0),
        "\n\n",
        "# a long note\n" * 500,
        "3," + "x" * 5000 + "\n",
        "\u2028\x00\n",
    ],
    ids=["note", "known id", "old row again", "blank", "many lines", "long line", "odd characters"],
)
def test_foreign_lines_stay_and_no_row_is_repeated(folder: Folder, running: bool, foreign: str) -> None:
    change(folder, running, lambda: append(folder, foreign), killed=True)
    folder.expect(range(6, 7), HEADER + "".join(line(float(sample_id)) for sample_id in range(1, 6)) + foreign)


@states
def test_a_foreign_last_line_without_its_end_is_kept(folder: Folder, running: bool) -> None:
    before = metric_log(folder.logs) + "half a note"
    change(folder, running, lambda: append(folder, "half a note"))
    eventually(lambda: line(6.0) in metric_log(folder.logs))
    kept = metric_log(folder.logs) + "".join(path.read_text() for path in aside(folder.logs))
    assert before in kept
    assert all(kept.count(line(float(sample_id))) == 1 for sample_id in range(1, 7))


def test_a_csv_cut_anywhere_while_running_is_completed(folder: Folder) -> None:
    """At each byte offset, then with one more pair; what is exactly a header counts as emptied."""
    whole = metric_log(folder.logs)
    for n, size in enumerate(range(len(whole), 0, -1)):
        os.truncate(folder.path, size)
        sample_id = 6.0 + n
        publish(folder.client, sample_id)
        whole += line(sample_id)
        if size == len(HEADER):
            whole = HEADER + line(sample_id)
        expected = whole
        eventually(lambda text=expected: metric_log(folder.logs) == text, f"cut to {size} bytes: {expected!r}")  # type: ignore[misc]
    assert not aside(folder.logs)


@pytest.mark.parametrize(
    "lost", [1, 7, len(line(5.0)), len(line(5.0)) + 1, 4 * len(line(1.0)) + 3, 5 * len(line(1.0)) + 9]
)
def test_a_csv_cut_while_stopped_is_completed(folder: Folder, lost: int) -> None:
    size = folder.path.stat().st_size - lost
    change(folder, False, lambda: os.truncate(folder.path, size), killed=True)
    folder.expect(range(1, 7))
    assert not aside(folder.logs)
