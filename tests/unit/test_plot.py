"""plot's maths, its reading of a log that grows and changes, and what stands in the picture."""

import plot
from plot import ErrorDistribution, Evaluation, MetricLog, Plot

import logging
import math
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

HEADER = b"id,y_true,y_pred,absolute_error\n"
Floats = NDArray[np.float64]

SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "half-normal": lambda random, n: np.abs(random.normal(0, 55, n)),
    "heavy-tailed": lambda random, n: np.abs(random.standard_cauchy(n)),
    "all equal": lambda random, n: np.full(n, 0.1),
    "all zero": lambda random, n: np.zeros(n),
    "whole numbers": lambda random, n: random.poisson(3, n).astype(float),
    "narrow and far from zero": lambda random, n: random.uniform(1000, 1001, n),
    "two clusters": lambda random, n: np.where(np.arange(n) % 2, random.normal(1e4, 1, n), random.uniform(0, 1, n)),
    "nearly all zero": lambda random, n: np.where(np.arange(n) % 30, 0, random.gamma(2, 3, n)),
    "tiny": lambda random, n: random.gamma(2, 1e-9, n),
    "one outlier, the first": lambda random, n: np.append(9e20, np.abs(random.normal(0, 55, n)))[:n],
    "one outlier, the last": lambda random, n: np.append(np.abs(random.normal(0, 55, n)), 9e20)[-n:],
}
shapes = pytest.mark.parametrize("shape", SHAPES)


def sample(shape: str, n: int) -> Floats:
    return SHAPES[shape](np.random.default_rng(n), n)


def distribution(errors: Floats, chunk: int = 20_000) -> ErrorDistribution:
    result = ErrorDistribution()
    for start in range(0, len(errors), chunk):
        result.update(errors[start : start + chunk])
    return result


def evaluation(errors: Floats) -> Evaluation:
    result = Evaluation()
    result.update(np.column_stack([np.arange(len(errors)), errors, np.zeros(len(errors)), errors]))
    return result


# The maths


@shapes
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_mean_quantiles_and_largest_are_numpys_on_every_prefix(shape: str, chunk: int) -> None:
    errors = sample(shape, 60)
    result = ErrorDistribution()
    for end in range(chunk, 60, chunk):
        result.update(errors[end - chunk : end])
        assert result.n == end
        assert result.quantiles(0.5) == np.median(errors[:end])
        assert result.quantiles(0.95) == pytest.approx(np.quantile(errors[:end], 0.95), rel=1e-15)
        assert result.max == errors[:end].max()
        assert result.mean() == math.fsum(errors[:end]) / end


@shapes
def test_quantiles_are_exact_to_a_million_rows(shape: str) -> None:
    errors = sample(shape, 1_000_000)
    result = distribution(errors)
    median, p95 = result.quantiles(0.5, 0.95)
    assert median == np.median(errors)
    assert p95 == pytest.approx(np.quantile(errors, 0.95), rel=1e-15)
    result.update(np.array([0.0]))
    assert len(result.kept) == 0


@shapes
@pytest.mark.parametrize("n", [1_000_001, 1_500_000])
def test_quantiles_of_more_are_within_a_thousandth_of_the_range(shape: str, n: int) -> None:
    errors = sample(shape, n)
    result = distribution(errors)
    wrong = np.abs(result.quantiles(0.5, 0.95) - np.quantile(errors, [0.5, 0.95]))
    assert (wrong <= 0.001 * np.ptp(errors)).all()
    assert result.max == errors.max()


def test_the_mean_does_not_lose_what_is_small_beside_the_sum() -> None:
    errors = np.append(1e17, np.full(5000, 1.1))
    exact = sum(Fraction(error) for error in errors) / len(errors)
    assert distribution(errors, chunk=1).mean() == float(exact)


def test_memory_is_bounded() -> None:
    def size(result: ErrorDistribution) -> int:
        return result.counts.nbytes + result.distances.nbytes + len(result.kept) * 8

    errors = sample("heavy-tailed", 1_100_000)
    result = distribution(errors)
    before = size(result)
    for factor in (1e-20, 1e-3, 1.0, 1e20):
        result.update(errors * factor)
    assert size(result) == before < 10e6


@shapes
def test_the_bins_hold_every_error_at_its_place(shape: str) -> None:
    errors = sample(shape, 50_000)
    result = distribution(errors)
    values, counts = result.get()
    assert counts.sum() == len(errors)
    assert (np.diff(values) > 0).all()
    # Each error, in order, beside the value that stands for it.
    errors.sort()
    assert (np.abs(np.repeat(values, counts.astype(int)) - errors) <= np.ptp(errors) / 1000).all()


def test_an_outlier_does_not_coarsen_the_bins() -> None:
    errors = np.append(1e29, sample("half-normal", 50_000))
    values, counts = distribution(errors).get()
    errors.sort()
    assert (np.abs(np.repeat(values, counts.astype(int)) - errors)[:-1] <= 0.5).all()


def test_errors_without_a_finite_value_are_counted_and_left_out() -> None:
    report = evaluation(np.array([1.0, np.inf, 3.0, np.nan, -np.inf, -1.0, 1.7e308, 1.7e308])).report()
    assert (report.rows, report.unusable) == (2, 6)
    assert (report.mean, report.median, report.max) == (2.0, 2.0, 3.0)


# The log


def row(error: float, id_: float = 1699541234.567) -> bytes:
    return f"{id_},{error},0.0,{error}\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metric_log.csv"


def read(log: MetricLog) -> tuple[int, float]:
    """Read all there is; rows and their sum."""
    for _ in range(1000):
        if not log.read():
            break
    return log.rows.errors.n, log.rows.errors.sum


def test_a_log_cut_anywhere_is_read_once_it_is_whole(path: Path) -> None:
    content = HEADER + row(1.5) + row(20) + row(0.25)
    for cut in range(len(content) + 1):
        log = MetricLog(path)
        path.write_bytes(content[:cut])
        whole = max(content[:cut].count(b"\n") - 1, 0)
        assert read(log) == (whole, sum([1.5, 20, 0.25][:whole]))
        with path.open("ab") as file:
            file.write(content[cut:])
        assert read(log) == (3, 21.75)
        assert not log.warned


@pytest.mark.parametrize("chunk", range(35, 90, 6))
def test_chunks_end_anywhere(path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(plot, "CHUNK", chunk)
    path.write_bytes(HEADER + b"".join(map(row, range(100))))
    log = MetricLog(path)
    assert read(log) == (100, 4950)
    assert not log.warned


def read_by_this_process() -> int:
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def test_only_what_is_new_is_read(path: Path) -> None:
    path.write_bytes(HEADER + b"".join(map(row, range(50_000))))
    log = MetricLog(path)
    read(log)
    for _ in range(3):
        with path.open("ab") as file:
            file.write(row(1))
        before = read_by_this_process()
        read(log)
        assert read_by_this_process() - before < 1000
    assert log.rows.errors.n == 50_003


def test_a_read_is_bounded(path: Path) -> None:
    path.write_bytes(HEADER + b"".join(map(row, range(100_000))))
    log = MetricLog(path)
    before = read_by_this_process()
    assert log.read()
    assert read_by_this_process() - before < 1.1 * 2**20


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def rewrite(path: Path, content: bytes) -> None:
    inode = path.stat().st_ino
    path.write_bytes(content)
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("change", [replace, rewrite])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER,
        HEADER + row(7),
        HEADER + row(1) + row(2) + row(7),
        HEADER + row(1) + row(2) + row(7) + row(8),
        HEADER + b"".join(map(row, range(1, 50))),
        HEADER + (row(1) + row(2) + row(3))[:-1],
    ],
    ids=["empty", "header", "shorter", "as long", "longer", "much longer", "cut in a line"],
)
def test_another_file_in_its_place_is_read_from_its_start(
    path: Path, change: Callable[[Path, bytes], None], content: bytes
) -> None:
    path.write_bytes(HEADER + row(1) + row(2) + row(3))
    log = MetricLog(path)
    assert read(log) == (3, 6)
    change(path, content)
    errors = [float(line.split(b",")[3]) for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]]
    assert read(log) == (len(errors), sum(errors))


def test_a_file_that_differs_in_its_beginning_alone_is_another(path: Path) -> None:
    tail = b"".join(map(row, range(100)))
    path.write_bytes(HEADER + row(1) + tail)
    log = MetricLog(path)
    assert read(log) == (101, 4951)
    replace(path, HEADER + row(9) + tail)
    assert read(log) == (101, 4959)


def test_a_log_that_is_removed_and_comes_back(path: Path) -> None:
    log = MetricLog(path)
    assert read(log) == (0, 0)
    path.write_bytes(HEADER + row(1))
    assert read(log) == (1, 1)
    path.unlink()
    assert read(log) == (0, 0)
    path.write_bytes(HEADER + row(1) + row(2))
    assert read(log) == (2, 3)


def test_another_header_is_told_once_and_its_rows_are_not_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"time,a,b,c\n" + row(1))
    log = MetricLog(path)
    for _ in range(3):
        assert read(log) == (0, 0)
    (warning,) = caplog.messages
    assert "metric_log.csv: its header is not id,y_true,y_pred,absolute_error" in warning
    replace(path, HEADER + row(2))
    assert read(log) == (1, 2)


def test_lines_that_are_not_four_numbers_are_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = [b"", b"a,b,c,d", b"1,2,3", b"1,2,3,4,5", b"1,2,3,", b"\0\0\0", b"\xff,1,2,3", b"=cmd(),1,2,3", b"1;2;3;4"]
    path.write_bytes(HEADER + row(1) + b"\n".join(bad) + b"\n" + row(2))
    log = MetricLog(path)
    assert read(log) == (2, 3)
    with path.open("ab") as file:
        file.write(b"more\n" + row(3))
    assert read(log) == (3, 6)
    assert len(caplog.messages) == 1
    assert "leaving out lines that are not four numbers, such as" in caplog.text


def test_a_line_without_end_does_not_stop_the_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "CHUNK", 100)
    path.write_bytes(HEADER + row(1) + b"x" * 1000 + b"\n" + row(2))
    assert read(MetricLog(path)) == (2, 3)


# The picture


def drawn(errors: Floats) -> Any:
    """The picture's axes, which have no complete types."""
    (axes,) = plot.draw(evaluation(errors).report()).axes
    return axes


def bars(axes: Any) -> tuple[Floats, Floats]:
    heights, edges, _ = axes.patches[0].get_data()
    return heights, edges


@shapes
@pytest.mark.parametrize("n", [1, 2, 3, 10, 50, 10_000])
def test_the_picture_says_what_it_shows(shape: str, n: int, tmp_path: Path) -> None:
    errors = sample(shape, n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes = drawn(errors)
        axes.figure.savefig(tmp_path / "picture.png")
    legend, (low, high) = axes.get_legend(), axes.get_xlim()
    assert f"over {n:,} row" in axes.get_title(loc="left")
    assert axes.get_xlabel().startswith("absolute error, in the unit of the target")
    assert "rows per bar" in axes.get_ylabel()

    # The mean and the median, named, with their values to a thousandth of the axis.
    names = dict(text.get_text().split(" ", 1) for text in legend.texts if text.get_text() != "density")
    for name, value in (("mean", errors.mean()), ("median", np.median(errors))):
        shown, _, beyond = names[name].partition(", beyond")
        assert float(shown.replace(",", "")) == pytest.approx(value, abs=(high - low) / 1000, rel=1e-3)
        assert bool(beyond) == (not low <= value <= high)

    # Nothing lies on anything else, or off the paper.
    texts = [*legend.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    for axis in (axes.xaxis, axes.yaxis):
        start, end = axis.get_view_interval()
        labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        texts += [label for place, label in labels if start <= place <= end]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 800 and box.y1 <= 450 for box in boxes)

    # Every row is in a bar or in the note below.
    heights, edges = bars(axes)
    beyond = int(np.count_nonzero((errors < edges[0]) | (errors > edges[-1])))
    assert heights.sum() + beyond == n
    assert (f"{beyond:,} row" in axes.get_xlabel()) == (beyond > 0)
    assert 4 <= len(heights) <= 60
    assert axes.get_ylim()[1] > heights.max()

    # No outlier squeezes the rest: the middle half and the next tenths have a good part of the axis.
    if n >= 10 and np.quantile(errors, 0.9) > np.quantile(errors, 0.1):
        assert np.quantile(errors, 0.9) - low > 0.05 * (high - low)


def curve(errors: Floats) -> tuple[Floats, Floats, float]:
    """The density curve, and the width of a bar."""
    axes = drawn(errors)
    (line,) = (line for line in axes.lines if line.get_label() == "density")
    return *line.get_data(), np.diff(bars(axes)[1])[0]


@pytest.mark.parametrize("n", [50, 10_000, 1_000_000])
def test_the_density_curve_has_the_area_of_the_bars(n: int) -> None:
    x, y, bar = curve(sample("half-normal", n))
    assert y.sum() * (x[1] - x[0]) / bar == pytest.approx(n, rel=1e-6)


def test_the_density_curve_is_that_of_the_distribution() -> None:
    x, y, bar = curve(sample("half-normal", 1_000_000))
    true = 2 / (55 * math.sqrt(2 * math.pi)) * np.exp(-((x / 55) ** 2) / 2)
    assert np.abs(y / bar / 1_000_000 - true).max() < 0.02 * true.max()


@pytest.mark.parametrize("shape", ["all equal", "all zero"])
def test_errors_that_are_all_equal_have_one_bar_and_no_curve(shape: str) -> None:
    errors = sample(shape, 100)
    axes = drawn(errors)
    heights, edges = bars(axes)
    assert heights.max() == 100
    assert edges[0] == 0
    assert [line.get_label().split()[0] for line in axes.lines] == ["mean", "median"]


def test_whole_numbers_make_no_comb() -> None:
    heights, edges = bars(drawn(sample("whole numbers", 100_000)))
    assert (heights[: int(6 / (edges[1] - edges[0]))] > 0).all()


def test_before_the_first_row_the_picture_says_so() -> None:
    assert [text.get_text() for text in drawn(np.array([])).texts] == ["Waiting for the first row"]


def test_the_picture_says_what_is_not_finite() -> None:
    errors = np.array([1.0, 2.0, np.inf, np.nan])
    assert "2 rows without a finite error" in drawn(errors).get_xlabel()
    assert "1 row without a finite error" in drawn(errors[2:3]).texts[0].get_text()


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
    ],
)
def test_numbers_have_the_digits_that_the_axis_can_show(value: float, span: float, text: str) -> None:
    assert plot.number(value, span) == text


# The loop


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plot]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Plot(plot.Config(LOGS_DIR=str(tmp_path / "logs"), PLOT_INTERVAL=1e-6))
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_failure_is_told_once_and_it_goes_on_trying(
    service: Plot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full, gone = OSError(28, "No space left on device"), OSError(2, "No such file or directory")
    outcomes = iter([full, full, full, None, full, gone, gone, None])

    def redraw() -> None:
        outcome = next(outcomes, KeyboardInterrupt)
        if outcome is KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
        elif isinstance(outcome, OSError):
            raise outcome

    monkeypatch.setattr(service, "redraw", redraw)
    service.run()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["No space" in text for text in told] == [True, True, False]
    assert next(outcomes, None) is None


def test_a_signal_ends_the_first_reading_between_two_chunks(service: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks: list[int] = []

    def endless() -> bool:
        chunks.append(1)
        assert len(chunks) <= 3
        if len(chunks) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    service.interval = 3600
    monkeypatch.setattr(service.log, "read", endless)
    service.run()
    assert len(chunks) == 3
    assert not service.picture.exists()


def test_a_long_first_reading_is_shown_as_it_proceeds(service: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def redraw() -> None:
        drawn.append(1)
        if len(drawn) == 3:
            service.stop()

    chunks = iter(range(1_000_000))
    monkeypatch.setattr(service.log, "read", lambda: next(chunks) is not None)
    monkeypatch.setattr(service, "redraw", redraw)
    service.run()
    assert len(drawn) == 3
