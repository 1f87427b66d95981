"""plot: shows the absolute errors in the log as a picture and a page, again and again.

Reads `LOGS_DIR/metric_log.csv` (header `id,y_true,y_pred,absolute_error`, a row per prediction) and writes every
PLOT_INTERVAL seconds, errors in the unit of the target,
- `LOGS_DIR/error_distribution.png`: a histogram of absolute_error with its density, mean and median;
- `LOGS_DIR/report.html`: the same, the error over time, RMSE, R² and the last rows, in a page that keeps itself
  current; what it looks like is in report.html beside this file.

Promise: both are whole at any moment, and redrawing them costs the same time and memory at ten million rows as at
ten thousand. Median and 95th percentile are exact up to a million rows, within 0.1 % of the range above; all else is.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import sys
import tempfile
import time
from array import array
from collections import deque
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERVICE = "plot"
DPI = 100  # of 8 inches: 800 pixels
ROUND = [1, 2, 2.5, 5, 10]  # what edges and ticks are multiples of, up to a power of ten
TICK = 0.25  # seconds between two looks at the stop flag; a stop may take 2 s
HEADER = b"id,y_true,y_pred,absolute_error"
CHUNK = 2**20  # bytes read at once: a bound on memory, some 20 ms between two looks at the stop flag
TAIL = 256  # bytes compared to see that the log is still the one read so far: several rows
EXACT = 1_000_000  # errors kept as they are, for an exact median; 8 MB
SETTLED = 100_000  # rows after which the centre of the bins stays where it is
LARGEST = 1e30  # no target has such errors; a sum of smaller ones stays finite
SHIFT = 23 - 10  # bits of a 32-bit float below the ten leading ones of its fraction: a bin is 2**-10 wide, relatively
SIDE = 255 << 10  # bins on either side of the centre
POINTS = 400  # at most, of the error over time
ROLLING = 20  # points in its rolling mean
LAST = 10  # rows shown, and writes from which the usual time between two is known

log = logging.getLogger(SERVICE)
C = TypeVar("C", bound="Config")
Floats = NDArray[np.float64]


class Config(msgspec.Struct):
    """The environment variables, their defaults and what they take."""

    LOGS_DIR: str = "logs"
    PLOT_INTERVAL: Annotated[float, Meta(gt=0, le=1e9)] = 10.0  # seconds
    LOG_LEVEL: Annotated[str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


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
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # or it talks about its fonts
    return config


class Report(msgspec.Struct):
    """What the picture and the page show: numbers alone, so that no text of the log can reach the page."""

    rows: int
    unusable: int  # rows more, without a finite error
    last: list[list[float]]  # rows, oldest first
    mean: float = math.nan  # null in the page
    median: float = math.nan
    p95: float = math.nan
    max: float = math.nan
    rmse: float = math.nan
    r2: float = math.nan
    edges: list[float] = []  # of the bars
    bars: list[float] = []  # rows in each
    density: list[list[float]] = []  # x and y, in rows per bar
    points: list[float] = []  # the error over time: the mean of each so many rows
    rows_per_point: int = 1
    rolling: list[float] = []  # the mean of the ROLLING points up to each
    written: float = 0.0  # when the newest row was, in Unix seconds
    stalled_after: float = 60.0  # seconds without a new row
    drawn: float = 0.0  # when, in Unix seconds
    interval: float = 0.0  # seconds to the next one


class ErrorDistribution:
    """What the absolute errors so far come to, in memory that does not grow with them.

    They are counted in bins as in an HdrHistogram: the width of a bin is a thousandth of its distance from the
    centre, a value near the median. So the bulk is resolved whatever the unit, and no outlier can spoil that.
    """

    def __init__(self) -> None:
        self.n = 0
        self.sum = self.rounding = self.max = 0.0
        self.kept = array("d")
        self.recentre()

    def update(self, absolute_error: Floats) -> None:
        self.n += len(absolute_error)
        self.max = max(self.max, float(absolute_error.max(initial=0)))
        terms = [self.sum, self.rounding, *absolute_error.tolist()]
        self.sum = math.fsum(terms)
        self.rounding = math.fsum([*terms, -self.sum])
        self.count(absolute_error)
        if self.n > EXACT:
            self.kept = array("d")
        else:
            self.kept.frombytes(absolute_error.tobytes())
            if 2 * self.centred_at <= self.n <= SETTLED:
                self.recentre()

    def recentre(self) -> None:
        """Count the errors kept again, around their median."""
        self.centred_at = max(self.n, 1)
        kept = np.frombuffer(self.kept)
        self.centre = np.partition(kept, self.n // 2)[self.n // 2] if self.n else 0.0
        self.counts, self.distances = np.zeros((2, 2 * SIDE + 1))  # of each bin
        self.count(kept)

    def count(self, absolute_error: Floats) -> None:
        distance = absolute_error - self.centre
        # The leading bits of a float, exponent and fraction, are the number of its bin.
        bins = np.abs(distance).astype(np.float32).view(np.int32) >> SHIFT
        bins = SIDE + np.where(distance < 0, -bins, bins)
        np.add.at(self.counts, bins, 1)
        np.add.at(self.distances, bins, distance)

    def get(self) -> tuple[Floats, Floats]:
        """The mean error in each bin, ascending, and how many there are."""
        filled = np.flatnonzero(self.counts)
        counts = self.counts[filled]
        return self.centre + self.distances[filled] / counts, counts

    def mean(self) -> float:
        return self.sum / self.n

    def quantiles(self, *q: float) -> Floats:
        """As numpy has them: between the two errors nearest in rank."""
        place = np.multiply(q, self.n - 1)
        ranks = np.array([np.floor(place), np.ceil(place)], int)
        if self.n > EXACT:
            errors, counts = self.get()
            low, high = errors[counts.cumsum().searchsorted(ranks, "right")]
        else:
            kept = np.frombuffer(self.kept)
            kept.partition(np.unique(ranks))  # in place: quick where it was done before
            low, high = kept[ranks]
        share = place % 1
        return np.asarray(low * (1 - share) + high * share)


class ErrorOverTime:
    """The mean error of each so many consecutive rows; when there is no room for more, two such become one."""

    def __init__(self) -> None:
        self.n, self.size = 0, 1
        self.sums = np.zeros(POINTS)

    def update(self, absolute_error: Floats) -> None:
        start, self.n = self.n, self.n + len(absolute_error)
        while self.n > POINTS * self.size:
            self.sums = np.append(self.sums[::2] + self.sums[1::2], np.zeros(POINTS // 2))
            self.size *= 2
        np.add.at(self.sums, np.arange(start, self.n) // self.size, absolute_error)

    def get(self) -> tuple[Floats, Floats]:
        """The points, and the rolling mean at each."""
        counts = np.clip(self.n - self.size * np.arange(math.ceil(self.n / self.size)), 0, self.size)
        sums = self.sums[: len(counts)]
        rolling, rows = (np.convolve(terms, np.ones(ROLLING))[: len(counts)] for terms in (sums, counts))
        return sums / counts, rolling / rows


class Evaluation:
    """What the rows so far come to, in memory that does not grow with them."""

    def __init__(self) -> None:
        self.errors, self.over_time = ErrorDistribution(), ErrorOverTime()
        self.unusable = 0
        self.last: deque[list[float]] = deque(maxlen=LAST)
        self.squared_errors = self.squared_deviations = 0.0  # sums; the latter of y_true from its mean
        self.origin, self.y_true_mean = math.nan, 0.0  # the first y_true; the mean as seen from there

    def update(self, table: Floats) -> None:
        self.last.extend(table[-LAST:].tolist())
        usable = table[(table[:, 3] >= 0) & (table[:, 3] <= LARGEST) & (np.abs(table[:, 1]) <= LARGEST)]
        self.unusable += len(table) - len(usable)
        if not len(usable):
            return
        absolute_error = usable[:, 3].copy()
        self.squared_errors += float(np.square(absolute_error).sum())
        # Chan, Golub and LeVeque's way to join two sums of squared deviations: nothing large is ever subtracted.
        if not self.errors.n:
            self.origin = usable[0, 1]
        y_true = usable[:, 1] - self.origin
        n, m, mean = self.errors.n, len(y_true), float(y_true.mean())
        step = mean - self.y_true_mean
        self.squared_deviations += float(np.square(y_true - mean).sum()) + step**2 * n * m / (n + m)
        self.y_true_mean += step * m / (n + m)
        self.errors.update(absolute_error)
        self.over_time.update(absolute_error)

    def rmse(self) -> float:
        return math.sqrt(self.squared_errors / self.errors.n)

    def r2(self) -> float:
        """Not a number as long as all y_true are equal."""
        return 1 - self.squared_errors / self.squared_deviations if self.squared_deviations else math.nan

    def report(self) -> Report:
        report = Report(self.errors.n, self.unusable, list(self.last))
        if not report.rows:
            return report
        report.mean, report.max, report.rmse, report.r2 = self.errors.mean(), self.errors.max, self.rmse(), self.r2()
        report.median, report.p95 = self.errors.quantiles(0.5, 0.95).tolist()
        errors, counts = self.errors.get()
        edges = bar_edges(errors, counts)
        bars, _ = np.histogram(errors, edges, weights=counts)
        report.edges, report.bars = edges.tolist(), bars.tolist()
        if np.count_nonzero(bars) > 1:
            report.density = [values.tolist() for values in density(errors, counts, edges)]
        report.points, report.rolling = (values.tolist() for values in self.over_time.get())
        report.rows_per_point = self.over_time.size
        return report


def quantiles(errors: Floats, counts: Floats, *q: float) -> Floats:
    cumulated = counts.cumsum()
    return errors[np.searchsorted(cumulated, np.multiply(q, cumulated[-1]))]


class MetricLog:
    """The log, of which `read` takes in what is new; it begins anew when the file is no longer the one read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restart()

    def restart(self, inode: int = 0) -> None:
        self.inode, self.offset, self.tail = inode, 0, b""
        self.warned = False
        self.rows = Evaluation()
        self.writes: deque[float] = deque(maxlen=LAST)  # when there were new rows, in Unix seconds

    def read(self) -> bool:
        """Take in the whole lines of the next chunk; say whether there is more."""
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            self.restart()
            return False
        with file:
            status = os.fstat(file.fileno())
            inode = status.st_ino
            file.seek(self.offset - len(self.tail))
            if inode != self.inode or file.read(len(self.tail)) != self.tail:  # another file, or cut, or rewritten
                self.restart(inode)
                file.seek(0)
            chunk = file.read(CHUNK)
        lines = chunk[: chunk.rfind(b"\n") + 1]  # a line still being written waits
        if len(chunk) == CHUNK and not lines:
            lines = chunk  # no row is that long
        rows = lines.splitlines()
        if rows and self.offset == 0 and rows.pop(0) != HEADER:
            self.warn("its header is not %s, so none of its rows is read", HEADER.decode())
            return False
        self.offset += len(lines)
        self.tail = (self.tail + lines)[-TAIL:]
        table, refused = parse(rows)
        if refused:
            self.warn("leaving out lines that are not four numbers, such as %.99r", refused[0])
        self.rows.update(table)
        if len(table) and status.st_mtime not in self.writes:
            self.writes.append(status.st_mtime)
        return len(chunk) == CHUNK

    def report(self) -> Report:
        """Labels may come long after the id was made: how old a row is goes by when it was written."""
        report = self.rows.report()
        if self.writes:
            # After a start the ids, times as well, stand in for the writes not seen.
            times = self.writes if len(self.writes) > 1 else [row[0] for row in report.last]
            usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
            report.written, report.stalled_after = self.writes[-1], max(60.0, 6 * usual)
        return report

    def warn(self, text: str, detail: object) -> None:
        """Once a file, since the same file is looked at every few seconds."""
        if not self.warned:
            log.warning(f"%s: {text}", self.path, detail)
        self.warned = True


def parse(rows: list[bytes]) -> tuple[Floats, list[bytes]]:
    """A table of four columns, and the lines that do not fit in."""
    table, refused = [], []
    for row in rows:
        try:
            id_, y_true, y_pred, absolute_error = map(float, row.split(b","))
            table.append((id_, y_true, y_pred, absolute_error))
        except ValueError:
            refused.append(row)
    return np.array(table, np.float64).reshape(-1, 4), refused


def bar_edges(errors: Floats, counts: Floats) -> Floats:
    """Edges at round numbers, from zero and not as far as outliers that would squeeze the rest.

    There are as many bars as Freedman and Diaconis advise, within limits, and no more than there are values.
    """
    from matplotlib.ticker import MaxNLocator

    q10, q25, q75, q90 = quantiles(errors, counts, 0.10, 0.25, 0.75, 0.90)
    fence = 4 * (q75 - q25)  # further out than what a box plot calls far out
    low = max(errors[0], min(q10, q25 - fence))
    high = min(errors[-1], max(q90, q75 + fence))
    if errors[-1] <= low + 2 * (high - low) or low == high:
        high = errors[-1]
    if high - low <= 1e-6 * high:  # all equal
        low, high = 0.0, 2 * high or 1.0
    if low <= 4 * (high - low):
        low = 0.0
    width = 2 * (q75 - q25) / counts.sum() ** (1 / 3)
    bars = np.clip(min(len(errors), (high - low) / width if width else math.inf), 10, 60)
    return np.asarray(MaxNLocator(int(bars), steps=ROUND).tick_values(low, high))


def density(errors: Floats, counts: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """A Gaussian kernel density estimate, in rows per bar, with Silverman's bandwidth (half a bar at least).

    It is mirrored at both ends: an absolute error is never negative, and the curve has to say so.
    """
    cells, ends = np.histogram(errors, 256, (edges[0], edges[-1]), weights=counts)
    middles = (ends[:-1] + ends[1:]) / 2
    spread = math.sqrt(np.cov(middles, aweights=cells, ddof=0))
    q25, q75 = quantiles(middles, cells, 0.25, 0.75)
    silverman = 0.9 * min(spread, (q75 - q25) / 1.34 or spread) * cells.sum() ** -0.2
    cells_per_bar = len(cells) / (len(edges) - 1)
    bandwidth = max(silverman / (ends[1] - ends[0]), cells_per_bar / 2)  # in cells
    reach = math.ceil(4 * bandwidth)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
    curve = np.convolve(np.pad(cells, reach, mode="symmetric"), kernel / kernel.sum(), mode="valid")
    return middles, curve * cells_per_bar


def number(value: float, span: float) -> str:
    """A value as one writes it beside an axis of this length: to a thousandth of that."""
    if span > 1e-3 and value < 1e9:
        return f"{value:,.{max(0, math.ceil(3 - math.log10(span)))}f}"
    return f"{value:.4g}"


def plural(n: int) -> str:
    return f"{n:,} row" + "s" * (n != 1)


def draw(report: Report) -> Figure:
    """The picture: bars, their density, mean and median; below, what it leaves out."""
    from matplotlib.figure import Figure  # half a second, in which the service can be told to stop already
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), dpi=DPI)
    axes = figure.add_axes((0.13, 0.17, 0.82, 0.68))
    notes = [f"{plural(report.unusable)} without a finite error"] if report.unusable else []
    if not report.rows:
        axes.set_axis_off()
        text = "\n".join(["Waiting for the first row", *notes])
        axes.text(0.5, 0.5, text, ha="center", va="center", size=16, color="0.3")
        return figure
    edges, low, high = report.edges, report.edges[0], report.edges[-1]
    axes.stairs(report.bars, edges, fill=True, color="#bcd4e6")
    if report.density:
        axes.plot(*report.density, color="#0072b2", label="density")
    # Okabe and Ito's colours, which every eye tells apart; the dashes are for print in grey.
    for name, value, color, dash in (
        ("mean", report.mean, "#d55e00", "-"),
        ("median", report.median, "#000000", "--"),
    ):
        beyond = "" if low <= value <= high else ", beyond the axis"
        axes.axvline(value, color=color, linestyle=dash, label=f"{name} {number(value, high - low)}{beyond}")
    if outside := report.rows - int(sum(report.bars)):
        notes.append(f"{plural(outside)} beyond the axis, the largest {number(report.max, report.max)}")
    axes.set(xlim=(low, high), ylim=(0, None), ylabel=f"rows per bar of {edges[1] - low:,g}")
    axes.set_xlabel("\n".join(["absolute error, in the unit of the target", "; ".join(notes)]))
    title = f"Distribution of absolute error over {plural(report.rows)}"
    axes.set_title(title, loc="left", y=1.1)  # y, or it looks for the room itself, a fifth of all the work
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=3, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if high >= 1e4:
        axes.xaxis.set_major_formatter("{x:,.4g}" if high >= 1e9 else "{x:,.0f}")
    return figure


class Plot:
    """Keeps the picture and the page as the log is, until SIGTERM."""

    def __init__(self, config: Config) -> None:
        """From here on SIGTERM and SIGINT set a flag, which `run` looks at."""
        self.stopping = False
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        folder = Path(config.LOGS_DIR)
        self.interval = config.PLOT_INTERVAL
        self.log = MetricLog(folder / "metric_log.csv")
        self.picture = folder / "error_distribution.png"
        self.page = folder / "report.html"
        self.template = Path(__file__).with_name("report.html").read_bytes()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            fail(f"LOGS_DIR={config.LOGS_DIR!r}: takes a folder in which this user may write; {error.strerror}")

    def stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> None:
        log.info("redrawing %s every %g s", self.picture, self.interval)
        problem = ""
        while not self.stopping:
            due = time.monotonic() + self.interval
            try:
                while self.log.read() and not self.stopping and time.monotonic() < due:
                    pass
                if not self.stopping:
                    self.redraw()
                problem = ""
            except OSError as error:
                if problem != str(error):
                    problem = str(error)
                    log.warning("%s is not redrawn: %s; trying again every %g s", self.picture, error, self.interval)
            while not self.stopping and (wait := due - time.monotonic()) > 0:
                time.sleep(min(wait, TICK))

    def redraw(self) -> None:
        """Replace both, each in one step, then say until when to believe that this service is healthy."""
        report = self.log.report()
        report.drawn, report.interval = time.time(), self.interval
        png = BytesIO()
        draw(report).savefig(png, format="png", pil_kwargs={"compress_level": 1})  # a sixth of the work less
        for path, content in (
            (self.picture, png.getvalue()),
            (self.page, self.template.replace(b"{{report}}", msgspec.json.encode(report))),
        ):
            unfinished = path.with_name(f".{path.name}")  # one name, so that a SIGKILL leaves one file, for the next
            unfinished.write_bytes(content)
            unfinished.replace(path)
        alive = Path(tempfile.gettempdir(), f"{SERVICE}.alive")
        alive.touch()
        os.utime(alive, (time.time() + 3 * self.interval + 10,) * 2)


def main() -> None:
    Plot(configure(Config)).run()


if __name__ == "__main__":
    main()
