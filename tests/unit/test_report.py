"""The numbers on plot's page: RMSE, R² and the error over time, and what of the log gets there."""

import plot
from plot import ErrorOverTime, Evaluation, MetricLog, Plot, Report

import json
import math
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import r2_score, root_mean_squared_error

HEADER = "id,y_true,y_pred,absolute_error\n"
Floats = NDArray[np.float64]

STREAMS: dict[str, Callable[[np.random.Generator, int], tuple[Floats, Floats]]] = {
    "diabetes-like": lambda random, n: ((y := random.normal(152, 77, n)), y + random.normal(0, 55, n)),
    "far from zero": lambda random, n: ((y := 1e9 + random.normal(0, 1, n)), y + random.normal(0, 0.1, n)),
    "the first is an outlier": lambda random, n: (np.append(1e9, random.normal(0, 1, n))[:n], random.normal(0, 1, n)),
    "drifting": lambda random, n: ((y := np.linspace(0, 1e6, n)), y + random.normal(0, 1, n)),
    "tiny": lambda random, n: (random.normal(0, 1e-9, n), random.normal(0, 1e-9, n)),
    "worse than the mean": lambda random, n: (random.normal(0, 1, n), random.normal(9, 1, n)),
}
streams = pytest.mark.parametrize("stream", STREAMS)


def sample(stream: str, n: int) -> tuple[Floats, Floats]:
    return STREAMS[stream](np.random.default_rng(n), n)


def table(y_true: Floats, y_pred: Floats) -> Floats:
    return np.column_stack([np.arange(len(y_true)), y_true, y_pred, np.abs(y_true - y_pred)])


@streams
@pytest.mark.parametrize("chunk", [1, 3])
def test_rmse_and_r2_are_scikit_learns_on_every_prefix(stream: str, chunk: int) -> None:
    y_true, y_pred = sample(stream, 120)
    rows = Evaluation()
    for end in range(chunk, 121, chunk):
        rows.update(table(y_true, y_pred)[end - chunk : end])
        assert rows.rmse() == pytest.approx(root_mean_squared_error(y_true[:end], y_pred[:end]), rel=1e-12)
        if end > 1:
            # scikit-learn's own sums have this much of a rounding error where the values are far from zero.
            assert rows.r2() == pytest.approx(r2_score(y_true[:end], y_pred[:end]), rel=1e-9, abs=1e-12)


@streams
def test_rmse_and_r2_hold_over_a_million_rows(stream: str) -> None:
    y_true, y_pred = sample(stream, 1_000_000)
    rows = Evaluation()
    for start in range(0, 1_000_000, 7_919):
        rows.update(table(y_true[start : start + 7_919], y_pred[start : start + 7_919]))
    assert rows.rmse() == pytest.approx(root_mean_squared_error(y_true, y_pred), rel=1e-12)
    assert rows.r2() == pytest.approx(r2_score(y_true, y_pred), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("y_true", [[5.0], [0.1] * 3, [0.1] * 10_001])
def test_r2_is_not_defined_while_all_labels_are_equal(y_true: list[float]) -> None:
    rows = Evaluation()
    rows.update(table(np.array(y_true), np.array(y_true) + 1))
    assert math.isnan(rows.r2())
    rows.update(np.array([[0, 0.0, 1.0, 1.0]]))
    assert not math.isnan(rows.r2())


@pytest.mark.parametrize("bad", [[1, math.inf, 1, 1], [1, 1e300, 1, 1], [1, math.nan, 1, 1], [1, 1, 1, math.nan]])
def test_a_row_that_is_not_finite_spoils_no_score(bad: list[float]) -> None:
    rows = Evaluation()
    for row in ([1, 2.0, 5.0, 3.0], bad, [3, 4.0, 8.0, 4.0]):
        rows.update(np.array([row]))
    assert rows.rmse() == math.sqrt((9 + 16) / 2)
    assert rows.r2() == pytest.approx(1 - 25 / 2)
    assert rows.unusable == 1


# The error over time


@pytest.mark.parametrize("n", [1, 2, 19, 20, 50, 399, 400, 401, 799, 800, 801, 10_007])
@pytest.mark.parametrize("chunk", [1, 977, 20_000])
def test_points_are_the_means_of_consecutive_rows(n: int, chunk: int) -> None:
    errors = np.abs(np.random.default_rng(n).normal(0, 55, n))
    over_time = ErrorOverTime()
    for start in range(0, n, chunk):
        over_time.update(errors[start : start + chunk])
    points, rolling = over_time.get()
    assert min(n, 200) <= len(points) <= 400
    size = over_time.size
    groups = [errors[start : start + size] for start in range(0, n, size)]
    assert points.tolist() == pytest.approx([group.mean() for group in groups])
    expected = [np.concatenate(groups[max(0, i - 19) : i + 1]).mean() for i in range(len(groups))]
    assert rolling.tolist() == pytest.approx(expected)


def test_an_outlier_does_not_spoil_the_rolling_mean_after_it() -> None:
    over_time = ErrorOverTime()
    over_time.update(np.append(1e29, np.full(99, 0.1)))
    _, rolling = over_time.get()
    assert rolling[19] > 1e27
    assert rolling[20:].tolist() == pytest.approx([0.1] * 80)


# What stands in the page


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metric_log.csv"


@pytest.fixture
def service(path: Path, monkeypatch: pytest.MonkeyPatch) -> Plot:
    monkeypatch.setattr("tempfile.tempdir", str(path.parent))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return Plot(plot.Config(LOGS_DIR=str(path.parent), PLOT_INTERVAL=10))


def redrawn(service: Plot) -> tuple[str, dict[str, Any]]:
    """The page, and the numbers in it."""
    while service.log.read():
        pass
    service.redraw()
    page = service.page.read_text()
    (found,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    return page, json.loads(found)


def test_the_page_holds_the_last_ten_rows_and_all_numbers(service: Plot, path: Path) -> None:
    y_true, y_pred = sample("diabetes-like", 50)
    rows = table(y_true, y_pred)
    path.write_text(HEADER + "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()))
    _, shown = redrawn(service)
    errors = np.abs(y_true - y_pred)
    assert shown["rows"] == 50
    assert shown["last"] == rows[-10:].tolist()
    assert shown["mean"] == pytest.approx(errors.mean())
    assert shown["median"] == np.median(errors)
    assert shown["p95"] == pytest.approx(np.quantile(errors, 0.95))
    assert shown["max"] == errors.max()
    assert shown["rmse"] == pytest.approx(root_mean_squared_error(y_true, y_pred))
    assert shown["r2"] == pytest.approx(r2_score(y_true, y_pred))
    assert sum(shown["bars"]) == 50
    assert len(shown["edges"]) == len(shown["bars"]) + 1
    assert shown["points"] == pytest.approx(errors)
    assert shown["interval"] == 10
    assert shown["drawn"] == pytest.approx(service.page.stat().st_mtime, abs=5)


def test_no_text_of_the_log_reaches_the_page(service: Plot, path: Path) -> None:
    path.write_text(HEADER + "1,2,3,1\n</script><script>alert(1)</script>,2,3,1\n4,<b>,3,1\n1,nan,3,-inf\n")
    page, shown = redrawn(service)
    assert "alert" not in page
    assert "<b>" not in page
    assert shown["last"] == [[1, 2, 3, 1], [1, None, 3, None]]
    assert (shown["rows"], shown["unusable"]) == (1, 1)


def test_the_page_asks_for_nothing_elsewhere(service: Plot) -> None:
    page, _ = redrawn(service)
    assert not re.findall(
        r"https?:|//[a-z]|@import|url\(", re.sub(r"^\s*// .*$|  // .*$", "", page, flags=re.MULTILINE)
    )
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}


def test_the_page_grows_with_nothing(service: Plot) -> None:
    """At a million rows it is no larger than at a thousand, give or take the digits."""
    sizes = []
    for n in (1_000, 1_000_000):
        rows = Evaluation()
        rows.update(table(*sample("diabetes-like", n)))
        sizes.append(len(msgspec.json.encode(rows.report())))
    assert sizes[1] < 1.5 * sizes[0] < 60_000


# How old the newest row is, and when that is too old


def append(path: Path, rows: list[float], written: float) -> None:
    with path.open("a") as file:
        file.writelines(f"{id_},1,2,1\n" for id_ in rows)
    os.utime(path, (written, written))


def report(log: MetricLog) -> Report:
    while log.read():
        pass
    return log.report()


def test_the_age_is_that_of_the_writing(path: Path) -> None:
    path.write_text(HEADER)
    log = MetricLog(path)
    assert report(log).written == 0
    append(path, [1000.0], written=90_000)
    assert report(log).written == 90_000
    os.utime(path, (95_000, 95_000))  # touched, but nothing new
    assert report(log).written == 90_000


@pytest.mark.parametrize(("gap", "stalled_after"), [(0.1, 60), (9.9, 60), (30, 180), (86_400, 6 * 86_400)])
def test_stalled_is_six_times_the_usual_time_between_writes(path: Path, gap: float, stalled_after: float) -> None:
    path.write_text(HEADER)
    log = MetricLog(path)
    for i in range(15):
        append(path, [i], written=100_000 + i * gap)
        seen = report(log).stalled_after
    assert seen == pytest.approx(stalled_after)
    append(path, [99], written=1_000_000_000)  # after a long stall that is over, nothing has changed
    assert report(log).stalled_after == pytest.approx(stalled_after)


def test_before_two_writes_are_seen_the_ids_stand_in(path: Path) -> None:
    path.write_text(HEADER)
    append(path, [1000.0], written=90_000)
    log = MetricLog(path)
    assert report(log).stalled_after == 60
    append(path, [1300.0, 1600.0, 1900.0], written=90_000)
    assert report(log).stalled_after == 6 * 300


def test_before_the_first_row_there_is_no_number(service: Plot) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, shown = redrawn(service)
    assert shown["rows"] == shown["written"] == 0
    assert shown["mean"] is None
