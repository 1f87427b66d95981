"""plot's maths, its reading of a log that grows and changes, and what is drawn."""

import plot
from harness import HEADER, no_warnings
from pipeline.scores import Probabilities
from plot import Evaluation, LogReader, PlotSettings, redraw

import itertools
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, r2_score, root_mean_squared_error

HEADER_BYTES = HEADER.encode()
START = 1699541234.567
Floats = NDArray[np.float64]

SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "half-normal": lambda random, n: np.abs(random.normal(0, 55, n)),
    "heavy-tailed": lambda random, n: np.abs(random.standard_cauchy(n)),
    "all equal": lambda random, n: np.full(n, 0.1),
    "all equal but for rounding": lambda random, n: np.abs(np.arange(n) + 0.1 - np.arange(n)),
    "all zero": lambda random, n: np.zeros(n),
    "whole numbers": lambda random, n: random.poisson(3, n).astype(float),
    "narrow and far from zero": lambda random, n: random.uniform(1000, 1001, n),
    "two clusters": lambda random, n: np.where(np.arange(n) % 2, random.normal(1e4, 1, n), random.uniform(0, 1, n)),
    "nearly all zero": lambda random, n: np.where(np.arange(n) % 30, 0, random.gamma(2, 3, n)),
    "tiny": lambda random, n: random.gamma(2, 1e-9, n),
    "huge": lambda random, n: random.gamma(2, 1e9, n),
    "one outlier, the first": lambda random, n: np.append(9e20, np.abs(random.normal(0, 55, n)))[:n],
    "one outlier, the last": lambda random, n: np.append(np.abs(random.normal(0, 55, n)), 9e20)[-n:],
}
shapes = pytest.mark.parametrize("shape", SHAPES)


def sample(shape: str, n: int) -> Floats:
    return SHAPES[shape](np.random.default_rng(n), n)


def evaluation(errors: Floats, chunk: int = 30_000, ids: Any = None) -> Evaluation:
    result = Evaluation()
    ids = START + 10 * np.arange(len(errors)) if ids is None else ids
    for start in range(0, len(errors), chunk):
        part = errors[start : start + chunk]
        result.add(np.column_stack([ids[start : start + chunk], np.zeros(len(part)), part, part]))
    return result


# The maths


@shapes
@pytest.mark.parametrize("chunk", [1, 7])
def test_mean_quantiles_and_extremes_are_numpys_on_every_prefix(shape: str, chunk: int) -> None:
    errors = sample(shape, 60)
    for end in range(1, 61):
        rows = evaluation(errors[:end], chunk)
        assert rows.n == end
        assert rows.mean() == pytest.approx(errors[:end].mean(), rel=1e-14)
        assert rows.quantiles(0.5)[0] == np.median(errors[:end])
        assert rows.quantiles(0.95)[0] == np.quantile(errors[:end], 0.95, method="averaged_inverted_cdf")
        assert rows.sketch.get_max_value() == errors[:end].max()


@shapes
def test_quantiles_are_exact_to_thirty_thousand_rows(shape: str) -> None:
    errors = sample(shape, 30_000)
    exact = np.quantile(errors, [0.5, 0.95], method="averaged_inverted_cdf")
    assert evaluation(errors, 977).quantiles(0.5, 0.95) == exact.tolist()


def test_quantiles_of_more_rows_are_close_and_the_mean_is_exact() -> None:
    errors = sample("half-normal", 2_000_000)
    rows = evaluation(errors)
    median, p95 = rows.quantiles(0.5, 0.95)
    assert median == pytest.approx(np.median(errors), rel=0.002)
    assert p95 == pytest.approx(np.quantile(errors, 0.95), rel=0.003)
    assert rows.mean() == pytest.approx(errors.mean(), rel=1e-12)
    assert rows.sketch.num_retained < 150_000  # bounded memory


STREAMS: dict[str, Callable[[np.random.Generator, int], tuple[Floats, Floats]]] = {
    "diabetes-like": lambda random, n: ((y := random.normal(152, 77, n)), y + random.normal(0, 55, n)),
    "far from zero": lambda random, n: ((y := 1e9 + random.normal(0, 1, n)), y + random.normal(0, 0.1, n)),
    "drifting": lambda random, n: ((y := np.linspace(0, 1e6, n)), y + random.normal(0, 1, n)),
    "tiny": lambda random, n: (random.normal(0, 1e-9, n), random.normal(0, 1e-9, n)),
    "worse than the mean": lambda random, n: (random.normal(0, 1, n), random.normal(9, 1, n)),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("n", [2, 120, 100_000])
def test_scores_are_scikit_learns(stream: str, n: int) -> None:
    y_true, y_pred = STREAMS[stream](np.random.default_rng(n), n)
    rows = Evaluation()
    for part in np.array_split(np.column_stack([np.arange(n), y_true, y_pred, np.abs(y_true - y_pred)]), 7):
        rows.add(part)
    assert rows.rmse() == pytest.approx(root_mean_squared_error(y_true, y_pred), rel=1e-12)
    assert rows.r2() == pytest.approx(r2_score(y_true, y_pred), rel=1e-8, abs=1e-11)
    assert rows.slope() == pytest.approx(np.polyfit(y_pred - y_pred.mean(), y_true, 1)[0], rel=1e-5, abs=1e-9)
    assert rows.mean(plot.RESIDUAL) == pytest.approx((y_pred - y_true).mean(), rel=1e-9)
    if n > 100:
        residuals = y_pred - y_true
        assert rows.margin(plot.RESIDUAL) == pytest.approx(1.96 * residuals.std(ddof=1) / math.sqrt(n), rel=1e-8)


@pytest.mark.parametrize("n", [1, 3, 10_001])
def test_r2_and_slope_are_not_defined_while_labels_or_predictions_are_all_equal(n: int) -> None:
    rows = Evaluation()
    rows.add(np.column_stack([np.arange(n), np.full(n, 0.1), np.full(n, 1.7), np.full(n, 1.6)]))
    assert math.isnan(rows.r2())
    assert math.isnan(rows.slope())
    rows.add(np.array([[0, 0.0, 1.0, 1.0]]))
    assert not math.isnan(rows.r2())
    assert not math.isnan(rows.slope())


@pytest.mark.parametrize("margin_of", [plot.RESIDUAL, plot.ERROR])
def test_the_interval_holds_the_true_mean_in_nineteen_of_twenty_streams(margin_of: int) -> None:
    random, hits = np.random.default_rng(7), 0
    for _ in range(1000):
        residuals = random.normal(3, 50, 200)
        rows = Evaluation()
        rows.add(np.column_stack([np.arange(200), np.zeros(200), residuals, np.abs(residuals)]))
        true = 3 if margin_of == plot.RESIDUAL else 50 * math.sqrt(2 / math.pi) + 3**2 / (50 * math.sqrt(2 * math.pi))
        hits += abs(rows.mean(margin_of) - true) <= rows.margin(margin_of)
    assert 930 <= hits <= 970


@pytest.mark.parametrize(
    "bad",
    [
        [1, 1, 1, math.inf],
        [1, 1, 1, math.nan],
        [1, math.inf, 1, 1],
        [1, 1, -math.inf, 1],
        [1, 1, 1, -1.0],
        [1, 1e300, 1, 1],
    ],
)
def test_a_row_without_a_finite_error_spoils_nothing(bad: list[float]) -> None:
    rows = Evaluation()
    assert [rows.add(np.array([row])) for row in ([1, 2.0, 5.0, 3.0], bad, [3, 4.0, 8.0, 4.0])] == [1, 0, 1]
    assert rows.n == 2
    assert rows.rmse() == math.sqrt((9 + 16) / 2)
    assert rows.r2() == pytest.approx(1 - 25 / 2)
    assert rows.quantiles(0.5) == [3.5]
    assert rows.last.tolist() == [[1, 2, 5, 3], [3, 4, 8, 4]]


@pytest.mark.parametrize("n", [1, 2, 19, 399, 400, 401, 799, 800, 801, 10_007])
@pytest.mark.parametrize("chunk", [1, 977, 20_000])
def test_points_are_the_means_of_consecutive_rows(n: int, chunk: int) -> None:
    errors = sample("half-normal", n)
    rows = evaluation(errors, chunk)
    points = rows.points()
    assert min(n, 200) <= len(points) <= 400
    whole = errors[: len(points) * rows.per_point].reshape(-1, rows.per_point)
    assert points.tolist() == pytest.approx(whole.mean(axis=1))
    assert n - whole.size < rows.per_point
    assert rows.ids[: len(points)].tolist() == [START + 10 * (rows.per_point * (i + 1) - 1) for i in range(len(points))]


# Probabilities


@pytest.mark.parametrize("n", [2, 10, 1000])
@pytest.mark.parametrize("shape", [(1, 1), (0.05, 50), (0.05, 0.05), (1e9, 1e9)])  # even, rare, confident, one half
def test_the_calibration_chart_can_be_read(shape: tuple[float, float], n: int) -> None:
    random = np.random.default_rng(n)
    p, probabilities = random.beta(*shape, n), Probabilities()
    probabilities.add((random.random(n) < p).astype(float), p)
    with no_warnings():
        with matplotlib.rc_context(plot.STYLE):
            (axes,) = plot.draw_calibration(probabilities).axes
        assert_readable(axes)
    assert legend(axes) == ["calibrated", "a tenth of the rows, 95 % interval"]
    assert np.shape(axes.collections[0].get_offsets())[0] == len(probabilities.calibration()[0])


def test_the_brier_score_is_the_square_of_the_rmse() -> None:
    random = np.random.default_rng(1)
    p = random.uniform(0, 1, 1000)
    y = (random.random(1000) < p).astype(float)
    rows = Evaluation()
    rows.add(np.column_stack([START + np.arange(1000), y, p, np.abs(y - p)]))
    assert rows.rmse() ** 2 == pytest.approx(brier_score_loss(y, p), rel=1e-9)
    assert rows.probabilities.log_loss() == pytest.approx(log_loss(y, p), rel=1e-9)


# Where the error changed


def changing(random: np.random.Generator, n: int, change: int, factor: float) -> Floats:
    errors = np.abs(random.normal(0, 54, n))
    errors[change:] *= factor
    return errors


@pytest.mark.parametrize(
    ("factor", "half", "most", "placed"), [(1.10, 1300, 4000, 100), (1.25, 330, 600, 32), (1.5, 180, 300, 16)]
)
def test_a_change_is_found_soon_and_where_it_is(factor: float, half: int, most: int, placed: int) -> None:
    """Of streams whose error changes at row 2,000: in half of them, in most of them after that many more rows."""
    random = np.random.default_rng(3)
    streams = [changing(random, 6000, 2000, factor) for _ in range(60)]

    def found(rows: int) -> int:
        changes = [evaluation(errors[: 2000 + rows]).change() for errors in streams]
        return sum(change is not None and change.row > 1000 for change in changes)

    assert found(half) >= 24
    assert found(most) >= 48
    changes = [evaluation(changing(random, 10_000, 5000, factor)).change() for _ in range(60)]
    assert np.median([abs(change.row - 5000) if change else math.inf for change in changes]) <= placed


def test_a_stream_that_does_not_change_raises_hardly_any_alarm() -> None:
    """Looked at every 250 rows, over 10,000 rows; 3 % of streams raise one."""
    random, alarms = np.random.default_rng(4), 0
    for _ in range(60):
        errors, rows, alarm = np.abs(random.normal(0, 54, 10_000)), Evaluation(), False
        for part in errors.reshape(-1, 250):
            rows.add(np.column_stack([np.zeros(250), np.zeros(250), part, part]))
            alarm = alarm or rows.change() is not None
        alarms += alarm
    assert alarms <= 6


@pytest.mark.parametrize("shape", ["all equal", "all zero", "heavy-tailed", "one outlier, the first"])
def test_odd_errors_are_no_change(shape: str) -> None:
    with no_warnings():
        assert evaluation(sample(shape, 2000)).change() is None


def test_the_change_is_told_in_a_sentence() -> None:
    rows = evaluation(np.append(np.full(300, 2.0), np.full(100, 3.0)))
    change = rows.change()
    assert change is not None
    assert change == (300, START + 2990, 2.0, 3.0)
    assert rows.sentence(change) == (
        "The error changed after about 300 rows (2023-11-09 15:37 UTC): "
        "the mean was 2.000 before and is 3.000 (+50%) over the 100 rows since."
    )


# The log


def row(error: float, id_: float = START) -> bytes:
    return f"{id_},{error},0.0,{error}\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metric_log.csv"


def read(log: LogReader) -> tuple[int, float]:
    """Read all there is; rows and their sum."""
    while log.read():
        pass
    return log.rows.n, round(log.rows.moments[0, plot.ERROR], 9)


def test_a_log_cut_anywhere_is_read_once_it_is_whole(path: Path) -> None:
    content = HEADER_BYTES + row(1.5) + row(20) + row(0.25)
    for cut in range(len(content) + 1):
        log = LogReader(path)
        path.write_bytes(content[:cut])
        whole = max(content[:cut].count(b"\n") - 1, 0)
        assert read(log) == (whole, sum([1.5, 20, 0.25][:whole]))
        assert log.problem == ""
        with path.open("ab") as file:
            file.write(content[cut:])
        assert read(log) == (3, 21.75)
        assert log.rows.left_out == 0


@pytest.mark.parametrize("chunk", range(35, 90, 6))
def test_chunks_end_anywhere(path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(plot, "CHUNK", chunk)
    path.write_bytes(HEADER_BYTES + b"".join(map(row, range(100))))
    log = LogReader(path)
    assert read(log) == (100, 4950)
    assert log.rows.left_out == 0


def read_by_this_process() -> int:
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def test_only_what_is_new_is_read(path: Path) -> None:
    path.write_bytes(HEADER_BYTES + b"".join(map(row, range(50_000))))
    log = LogReader(path)
    read(log)
    for _ in range(3):
        with path.open("ab") as file:
            file.write(row(1))
        before = read_by_this_process()
        read(log)
        assert read_by_this_process() - before < 1000
    assert log.rows.n == 50_003


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def rewrite(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize("change", [replace, rewrite])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER_BYTES,
        HEADER_BYTES + row(7),
        HEADER_BYTES + row(1) + row(2) + row(7),
        HEADER_BYTES + row(1) + row(2) + row(7) + row(8),
        HEADER_BYTES + b"".join(map(row, range(1, 50))),
        HEADER_BYTES + (row(1) + row(2) + row(3))[:-1],
    ],
    ids=["empty", "header", "shorter", "as long", "longer", "much longer", "cut in a line"],
)
def test_another_file_in_its_place_is_read_from_its_start(
    path: Path, change: Callable[[Path, bytes], None], content: bytes
) -> None:
    path.write_bytes(HEADER_BYTES + row(1) + row(2) + row(3))
    log = LogReader(path)
    assert read(log) == (3, 6)
    change(path, content)
    errors = [float(line.split(b",")[3]) for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]]
    assert read(log) == (len(errors), sum(errors))


@pytest.mark.parametrize("change", [replace, rewrite])
def test_a_file_that_differs_in_its_beginning_alone_is_another(
    path: Path, change: Callable[[Path, bytes], None]
) -> None:
    tail = b"".join(map(row, range(100)))
    path.write_bytes(HEADER_BYTES + row(1) + tail)
    log = LogReader(path)
    assert read(log) == (101, 4951)
    change(path, HEADER_BYTES + row(9) + tail)
    assert read(log) == (101, 4959)


def test_a_longer_file_that_has_the_same_bytes_where_the_reading_ended_is_another(path: Path) -> None:
    tail = b"".join(map(row, range(100)))
    path.write_bytes(HEADER_BYTES + row(1) + tail)
    log = LogReader(path)
    assert read(log) == (101, 4951)
    replace(path, HEADER_BYTES + row(9) + tail + row(5))
    assert read(log) == (102, 4964)


def test_a_log_that_is_removed_and_comes_back(path: Path) -> None:
    log = LogReader(path)
    assert read(log) == (0, 0)
    path.write_bytes(HEADER_BYTES + row(1))
    assert read(log) == (1, 1)
    path.unlink()
    assert read(log) == (0, 0)
    path.write_bytes(HEADER_BYTES + row(1) + row(2))
    assert read(log) == (2, 3)


@pytest.mark.parametrize(
    "errors",
    [
        np.logspace(-200, -170, 200),
        np.array([3e-323]),
        np.concatenate([np.logspace(-320, -150, 91), [0.0, 1.0]]),
        np.logspace(-102, -98, 60),
    ],
)
def test_errors_of_almost_0_are_drawn(tmp_path: Path, errors: NDArray[np.float64]) -> None:
    """As a confident classifier has them: their squares are 0."""
    text = "".join(f"{1.7e9 + i!r},0.0,{error!r},{error!r}\n" for i, error in enumerate(errors.tolist()))
    (tmp_path / "metric_log.csv").write_text(HEADER + text)
    log = LogReader(tmp_path / "metric_log.csv")
    log.read()
    assert log.rows.n == len(errors)
    redraw(log, tmp_path, PlotSettings())


def test_a_name_that_is_not_utf_8_is_shown_with_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "metric_log.csv").write_text(HEADER + "1,2,3,1\n")
    log = LogReader(tmp_path / "metric_log.csv")
    log.read()
    redraw(log, tmp_path, PlotSettings(unit="\udcb0C", dataset="m\udcfcller.csv", target="gr\udcf6sse"))
    page = (tmp_path / "report.html").read_text()
    assert "?C" in page
    assert "m?ller.csv, target: gr?sse" in page


def test_a_foreign_log_in_a_folder_whose_name_is_not_utf_8_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "l\udcfcgs"
    folder.mkdir()
    (folder / "metric_log.csv").write_text("a,b\n1,2\n")
    log = LogReader(folder / "metric_log.csv")
    log.read()
    redraw(log, folder, PlotSettings())
    assert "l?gs" in (folder / "report.html").read_text()


def test_a_number_of_400_digits_is_none(tmp_path: Path) -> None:
    assert plot.parse(b"1,2,3,4\n1,1,1," + b"9" * 400 + b"\n")[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "foreign",
    [
        b"time,a,b,c\n" + row(1),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        row(1),
        HEADER_BYTES[:-1] + b",more\n",
        b"$x^2$,<b>\n",
    ],
)
def test_a_foreign_file_is_logged_once_and_not_read(
    path: Path, caplog: pytest.LogCaptureFixture, foreign: bytes
) -> None:
    path.write_bytes(foreign)
    log = LogReader(path)
    for _ in range(3):
        assert read(log) == (0, 0)
    assert log.problem.startswith(f"{path} is not this pipeline's log: its header is '")
    (warning,) = caplog.messages
    assert "instead of id,y_true,y_pred,absolute_error" in warning
    with no_warnings():
        plot.redraw(log, path.parent, PlotSettings())
    replace(path, HEADER_BYTES + row(2))
    assert read(log) == (1, 2)
    assert log.problem == ""


def test_lines_that_are_not_four_numbers_are_left_out_and_counted(path: Path) -> None:
    bad = [b"", b"a,b,c,d", b"1,2,3", b"1,2,3,4,5", b"1,2,3,4,5,6,7,8", b"1,2,3,", b"1,2,3,4,", b"\0\0\0", b"\0" * 100]
    bad += [
        b"\xff,1,2,3",
        b"=cmd(),1,2,3",
        b"1;2;3;4",
        b'"1,2,3,4',
        b"True,1,2,3",
        b"1,0x1,2,3",
        b"1,2,3,inf",
        b"1,2,3,nan",
        b"1,2,3,4\r1,2,3,4\r1,2,3,4",
    ]
    log = LogReader(path)
    path.write_bytes(HEADER_BYTES + b"1,2,3,4,5\n" + row(1) + b"\n".join(bad) + b"\n" + row(2))
    with no_warnings():
        assert read(log) == (2, 3)
        assert log.rows.left_out == len(bad) + 1
        with path.open("ab") as file:
            file.write(b"more\n" + row(3))
        assert read(log) == (3, 6)
        assert log.rows.left_out == len(bad) + 2


def test_numbers_are_read_to_the_last_digit(path: Path) -> None:
    values = [0.1 + 0.2, 5e-324, 123456789.12345679, 2 / 3, 1e22]
    path.write_bytes(HEADER_BYTES + b"".join(map(row, values)))
    log = LogReader(path)
    read(log)
    assert log.rows.last[:, 3].tolist() == values


def test_a_line_without_end_does_not_stop_the_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "CHUNK", 100)
    path.write_bytes(HEADER_BYTES + row(1) + b"x" * 1000 + b"\n" + row(2))
    assert read(LogReader(path)) == (2, 3)


def test_a_change_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = LogReader(path)
    path.write_bytes(
        HEADER_BYTES + b"".join(row(2 + i % 2) for i in range(300)) + b"".join(row(6 + i % 2) for i in range(60))
    )
    for _ in range(5):
        read(log)
        plot.redraw(log, path.parent, PlotSettings())
        with path.open("ab") as file:
            file.write(b"".join(row(6 + i % 2) for i in range(33)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "The error changed after about 300 rows (2023-11-09 14:47 UTC): the mean was 2.500 before" in caplog.text


# The models


@pytest.mark.parametrize(
    ("content", "models"),
    [
        (b"", []),
        (b"id,sha256\n", []),
        (b"id,sha256\n1.5," + b"ab" * 32 + b"\n2e9," + b"cd" * 32 + b"\n", [(1.5, "ab" * 32)]),
        (b"id,sha256\n1.5," + b"ab" * 32 + b"\n2," + b"cd" * 20, [(1.5, "ab" * 32)]),
        (b"\xff\0<b>,x\n-7," + b"01" * 32 + b"\n", [(-7.0, "01" * 32)]),
    ],
    ids=["empty", "header", "two, one odd", "torn", "foreign"],
)
def test_models_are_read_as_far_as_they_can_be(tmp_path: Path, content: bytes, models: list[tuple[float, str]]) -> None:
    (tmp_path / "models.csv").write_bytes(content)
    assert plot.read_models(tmp_path / "models.csv") == models


def test_there_may_be_no_models(tmp_path: Path) -> None:
    assert plot.read_models(tmp_path / "models.csv") == plot.read_models(tmp_path) == []


# The charts


def drawn(errors: Floats, unit: str = "") -> Any:
    """The picture's axes, which have no complete types."""
    with matplotlib.rc_context(plot.STYLE):
        (axes,) = plot.draw_distribution(evaluation(errors), PlotSettings(unit=unit)).axes
    return axes


def bars(axes: Any) -> tuple[Floats, Floats]:
    """The heights of the bars, and their edges; not of those that are mirrored."""
    shown = [bar for bar in axes.patches if bar.get_x() >= axes.get_xlim()[0] - 1e-9 * bar.get_width()]
    heights, left = [bar.get_height() for bar in shown], [bar.get_x() for bar in shown]
    return np.array(heights), np.array([*left, left[-1] + shown[-1].get_width()])


def assert_readable(axes: Any) -> None:
    """No text lies on another, or off the paper."""
    axes.figure.savefig(os.devnull, format="png", dpi=100)
    texts = [*axes.get_legend().texts, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.figure.texts]
    for axis in (axes.xaxis, axes.yaxis):
        start, end = axis.get_view_interval()
        labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        texts += [label for place, label in labels if start <= place <= end]
    boxes = {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}
    for (a, box), (b, other) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(other), (a, b)
    for text, box in boxes.items():
        assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= 480, box.y1 <= 360) == (True,) * 4, text


@shapes
@pytest.mark.parametrize("n", [1, 2, 3, 10, 50, 10_000])
def test_the_picture_says_what_it_shows(shape: str, n: int) -> None:
    errors = sample(shape, n)
    with no_warnings():
        axes = drawn(errors)
        assert_readable(axes)
    low, high = axes.get_xlim()
    assert f"over {n:,} row" in axes.get_title(loc="left")
    assert axes.get_xlabel() == "absolute error, in the unit of the target"
    assert "rows per bar" in axes.get_ylabel()

    # Mean, median and 95th percentile are named, with their values to a thousandth of the axis.
    names = [text.get_text() for text in axes.get_legend().texts if text.get_text() != "density"]
    p95 = float(np.quantile(errors, 0.95, method="averaged_inverted_cdf"))
    for text, (name, value) in zip(
        names, {"mean": errors.mean(), "median": np.median(errors), "95th percentile": p95}.items(), strict=True
    ):
        shown, _, beyond = text.removeprefix(f"{name} ").partition(", beyond")
        assert float(shown.replace(",", "")) == pytest.approx(value, abs=(high - low) / 1000, rel=1e-3)
        assert bool(beyond) == (not low <= value <= high)

    # Every row is in a bar or in the note below.
    heights, edges = bars(axes)
    beyond = int(np.count_nonzero((errors < edges[0]) | (errors > edges[-1])))
    assert heights.sum() + beyond == pytest.approx(n)
    (below,) = axes.figure.texts
    assert (f"{beyond:,} row" in below.get_text()) == (beyond > 0)
    assert 3 <= len(heights) <= 61
    assert axes.get_ylim()[1] > heights.max()

    # No outlier squeezes the rest: the middle half and the next tenths have a good part of the axis.
    if n >= 10 and np.quantile(errors, 0.9) > np.quantile(errors, 0.1) * (1 + 1e-6):
        assert np.quantile(errors, 0.9) - low > 0.05 * (high - low)


def test_errors_of_few_digits_are_in_their_bar_however_they_are_stored() -> None:
    """60.7 - 60.4 is 0.30000000000000426, and 60.4 - 60.1 is 0.29999999999999716."""
    random = np.random.default_rng(0)
    labels, tenths = random.integers(400, 800, 3000), random.integers(-20, 21, 3000)
    errors = np.abs((labels + tenths) / 10 - labels / 10)
    heights, edges = bars(drawn(errors))
    exact = np.histogram(np.abs(tenths), np.round(10 * edges))[0]
    assert heights.tolist() == pytest.approx(exact.tolist())


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5, 1e7, 1e8])
def test_the_largest_numbers_are_readable_as_well(scale: float) -> None:
    """Most errors are 0, so mean and 95th percentile are beyond the axis; and all of one size."""
    random = np.random.default_rng(0)
    rare = np.where(random.random(500) < 0.88, 0, np.abs(random.normal(0, 12345.678 * scale, 500)))
    for errors in rare, np.abs(random.normal(0, scale, 500)):
        axes = drawn(errors)
        assert_readable(axes)
        assert_readable(over_time(errors))


@pytest.mark.parametrize("unit", ["%", "points on the Hamilton Depression Rating Scale", "days in hospital, " * 6])
def test_a_unit_of_any_length_is_shown_as_a_whole(unit: str) -> None:
    axes = drawn(np.linspace(0, 100, 50), unit)
    assert axes.get_xlabel() == f"absolute error, in {unit}"
    assert_readable(axes)


def test_the_largest_error_is_in_a_bar_also_where_it_is_an_edge() -> None:
    axes = drawn(np.linspace(0, 100, 1001))
    heights, edges = bars(axes)
    assert edges[-1] == 100
    assert heights.sum() == pytest.approx(1001)
    assert "beyond" not in axes.figure.texts[0].get_text()


def test_all_notes_have_room() -> None:
    rows = evaluation(np.append(changing(np.random.default_rng(0), 2000, 1000, 1.5), np.full(3, 1e6)))
    rows.left_out = 1234
    with matplotlib.rc_context(plot.STYLE):
        (axes,) = plot.draw_distribution(rows, PlotSettings(dataset="/data/a.csv", target="y")).axes
    assert_readable(axes)
    left_out, beyond, change, of_what = axes.figure.texts[0].get_text().split("\n")
    assert left_out == "1,234 rows without a finite error"
    assert beyond == "3 rows beyond the axis, the largest 1,000,000"
    assert change.startswith("changed after row ")
    assert of_what == "a.csv, target: y"


def curve(axes: Any) -> tuple[Floats, Floats]:
    """The density, in rows per bar, where it can be seen."""
    (line,) = (line for line in axes.lines if line.get_label() == "density")
    x, y = line.get_data()
    seen = x >= axes.get_xlim()[0]
    return x[seen], y[seen]


def test_the_density_curve_is_that_of_the_distribution_at_zero_as_well() -> None:
    axes = drawn(sample("half-normal", 1_000_000))
    (x, y), (_, edges) = curve(axes), bars(axes)
    true = 2 / (55 * math.sqrt(2 * math.pi)) * np.exp(-((x / 55) ** 2) / 2)
    assert x[0] < 1
    assert np.abs(y / (edges[1] - edges[0]) / 1_000_000 - true).max() < 0.02 * true.max()


@pytest.mark.parametrize("shape", ["half-normal", "two humps", "heavy-tailed"])
def test_the_density_curve_follows_the_bars(shape: str) -> None:
    random = np.random.default_rng(1)
    humps = np.where(np.arange(3000) % 3, random.normal(12, 2, 3000), random.normal(60, 5, 3000))
    axes = drawn(np.abs(humps) if shape == "two humps" else sample(shape, 3000))
    heights, edges = bars(axes)
    at_middles = np.interp((edges[:-1] + edges[1:]) / 2, *curve(axes))
    assert np.abs(at_middles - heights).sum() < 0.25 * heights.sum()


@pytest.mark.parametrize(
    ("shape", "n"), [("half-normal", 8), ("all equal", 100), ("all zero", 100), ("whole numbers", 500)]
)
def test_there_is_no_curve_where_it_would_say_too_much(shape: str, n: int) -> None:
    axes = drawn(sample(shape, n))
    assert "density" not in [line.get_label() for line in axes.lines]


@pytest.mark.parametrize("shape", ["all equal", "all equal but for rounding", "all zero"])
def test_equal_errors_are_one_bar_in_the_middle_of_which_they_are(shape: str) -> None:
    heights, edges = bars(drawn(sample(shape, 100)))
    (full,) = np.flatnonzero(heights)
    assert heights[full] == 100
    assert (edges[full] + edges[full + 1]) / 2 == pytest.approx(sample(shape, 1)[0], abs=1e-9)


def test_whole_numbers_have_a_bar_each_and_make_no_comb() -> None:
    errors = sample("whole numbers", 10_000)
    heights, edges = bars(drawn(errors))
    assert np.array_equal(edges[:8], np.arange(8) - 0.5)
    assert heights[:8].tolist() == pytest.approx([np.count_nonzero(errors == k) for k in range(8)])
    heights, edges = bars(drawn(np.round(sample("half-normal", 10_000))))
    assert (edges[1] - edges[0]) % 1 == 0


def over_time(errors: Floats, models: plot.Models | None = None, ids: Any = None) -> Any:
    with matplotlib.rc_context(plot.STYLE):
        (axes,) = plot.draw_over_time(evaluation(errors, ids=ids), models or []).axes
    return axes


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().texts]


@pytest.mark.parametrize("n", [1, 8, 19])
def test_a_rolling_mean_waits_for_its_points(n: int) -> None:
    axes = over_time(sample("half-normal", n))
    assert_readable(axes)
    assert legend(axes) == ["one row"]
    assert len(axes.collections[0].get_offsets()) == n


def test_the_rolling_mean_is_that_of_twenty_points() -> None:
    errors = sample("half-normal", 100)
    axes = over_time(errors)
    assert legend(axes) == ["one row", "mean of the last 20 points"]
    _, y = axes.lines[0].get_data()
    assert y[~np.isnan(y)].tolist() == pytest.approx([errors[i : i + 20].mean() for i in range(81)])


@shapes
@pytest.mark.parametrize("n", [50, 10_000])
def test_the_chart_over_time_can_be_read(shape: str, n: int) -> None:
    with no_warnings():
        axes = over_time(sample(shape, n))
        assert_readable(axes)
    dots = np.asarray(axes.collections[0].get_offsets())[:, 1]
    outside = np.count_nonzero(dots > axes.get_ylim()[1])
    assert (f"({outside} beyond the axis)" in legend(axes)[0]) == bool(outside)


def test_the_chart_over_time_shows_change_and_models_with_clock_times() -> None:
    errors = changing(np.random.default_rng(0), 2000, 1000, 1.5)
    models = [(START, "a" * 64), (START + 10 * 1200, "b" * 64)]
    axes = over_time(errors, models)
    assert_readable(axes)
    assert legend(axes) == ["mean of 8 rows", "mean of the last 20 points", "error changed", "model replaced"]
    _, change, replaced = (line.get_xdata() for line in axes.lines)
    assert change[0] == pytest.approx(1000, abs=30)
    assert replaced == [1200, 1200]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[:2] == ["0\n14:48", "500\n16:11"]  # of the last row of each point


def test_a_time_below_the_axis_is_that_of_its_row() -> None:
    axes = over_time(sample("half-normal", 8))
    labels = dict(label.get_text().split("\n") for label in axes.get_xticklabels() if "\n" in label.get_text())
    assert labels == {"0": "14:47:14", "2": "14:47:24", "4": "14:47:44", "6": "14:48:04", "8": "14:48:24"}


def test_labels_that_come_late_do_not_move_a_new_model() -> None:
    ids = START + 10.0 * np.arange(100)
    ids[45:55] = START - 3600 + np.arange(10)
    models = [(START, "a" * 64), (ids[30], "b" * 64), (ids[70], "c" * 64)]
    axes = over_time(sample("half-normal", 100), models, ids)
    dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == [30, 70]
    ids[-1] = START - 40 * 86400
    labels = [label.get_text() for label in over_time(sample("half-normal", 100), ids=ids).get_xticklabels()]
    assert labels[0] == "0\n14:47"  # the others are of the last 20 minutes


def test_ids_that_are_no_times_have_no_clock_time() -> None:
    assert [plot.clock(id_, "%H:%M") for id_ in (0.0, -5.0, 17.0, 9e15, START)] == ["", "", "", "", "14:47"]


@pytest.mark.parametrize(
    ("value", "span", "text"),
    [
        (63.2741, 140, "63.3"),
        (0.51234, 1, "0.512"),
        (45123.4, 2e5, "45,123"),
        (1000.00123, 1, "1,000.001"),
        (3.9531e-9, 2e-8, "3.953e-09"),
        (9e20, 140, "9e+20"),
        (0, 1, "0.000"),
        (0, 0, "0"),
    ],
)
def test_numbers_have_the_digits_that_the_axis_can_show(value: float, span: float, text: str) -> None:
    assert plot.number(value, span) == text
