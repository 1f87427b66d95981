"""plot: shows the absolute errors in the log as a picture and as a page, again and again.

Reads `LOGS_DIR/metric_log.csv` (header `id,y_true,y_pred,absolute_error`, one row per prediction; errors in the unit of
the target) and, where metric writes it, `LOGS_DIR/models.csv` (header `id,sha256`, one line per change of the model).
Every PLOT_INTERVAL seconds it writes
- `LOGS_DIR/error_distribution.png`: a histogram of absolute_error with its density, mean, median and 95th percentile;
- `LOGS_DIR/report.html`: the same, the error over time and what it means, in a page that refreshes itself.

Promise: both files are whole at any moment, and a redraw costs the same time and memory at ten million rows as at ten
thousand. Quantiles are exact up to 30,000 rows and within 0.3 % of their value above. All else is exact, but for the
area under the ROC curve of a classifier (see Probabilities).
"""

# First: from here on SIGTERM ends the process with exit code 0.
from pipeline.files import HEADER, LARGEST, Alive, replace
from pipeline.scores import Probabilities
from pipeline.settings import Settings, UnusableError, readable, run

import asyncio
import csv
import html
import logging
import math
import os
import re
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from datasketches import kll_doubles_sketch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from msgspec import Meta
from numpy.typing import NDArray

CHUNK = 2**21  # bytes read at once: bounds the memory
TAIL = 256  # bytes compared to see whether the log is still the one read so far: several rows
ACCURACY = 2**15  # the sketch's k: errors are kept as they are up to here, then their ranks are right to 0.02 %
SMALLEST = 1e-100  # of an error that is not taken as 0: squares of smaller ones are 0
POINTS = 400  # of the error over time, at most
ROLLING = 20  # points in its rolling mean, and points from which a change can be found
CHANGED = 1.95  # what the CUSUM statistic stays below in 99.9 % of streams that do not change (a Brownian bridge)
FEW = 30  # rows: fewer get no density curve and no interval
BUNDLED = "scikit-learn's diabetes data"
LAST = 10  # rows shown, and writes from which the usual time between two is known
INCHES = 4.8, 3.6  # of a chart: narrow, with large text, so that it can be read on a phone
ROUND = [1, 2, 2.5, 5, 10]  # edges and ticks are multiples of one of these, times a power of ten
# The page has the same colours under the same names, and others for the dark. Blue and orange are from Okabe and Ito's
# palette, which all eyes tell apart; the dashes are for print in grey.
COLOURS = {"paper": "#ffffff", "ink": "#1b1b1b", "quiet": "#5a5a5a", "line": "#d9d9d9", "bar": "#bcd4e6"}
COLOURS |= {"blue": "#0072b2", "orange": "#c24e00", "bad": "#b3261e"}
PAPER, INK, QUIET, LINE, BAR, BLUE, ORANGE, BAD = COLOURS.values()
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "plot", "font.size": 9.5, "text.parse_math": False}
STYLE |= {
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.edgecolor": LINE,
}

log = logging.getLogger("plot")
Floats = NDArray[np.float64]
Models = list[tuple[float, str]]  # the id of the first row that each model answered, and the model's SHA-256


@dataclass(frozen=True, kw_only=True)
class PlotSettings(Settings):
    logs_dir: str = "logs"
    plot_interval: Annotated[
        float, Meta(gt=0, le=1e9, description="a number of seconds above 0, 1e9 at most, such as 10")
    ] = 10.0
    dataset: str = ""  # as in features; empty: the diabetes data
    target: str = ""  # its label column; empty: the last one
    unit: str = ""  # of the target

    def of_what(self) -> str:
        target = self.target or ("last column" if self.dataset else "disease progression after one year")
        return readable(f"{Path(self.dataset).name or BUNDLED}, target: {target}")


async def main(settings: PlotSettings) -> None:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # below that it talks about fonts
    folder = Path(settings.logs_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"takes a folder in which this user may write: {error.strerror}"
        raise UnusableError(f"LOGS_DIR={settings.logs_dir!r}: {reason}") from None
    log.info("redrawing %s every %g s", folder / "error_distribution.png", settings.plot_interval)
    metric_log, alive, problem = LogReader(folder / "metric_log.csv"), Alive("plot"), ""
    while True:
        due = time.monotonic() + settings.plot_interval
        try:
            while await asyncio.to_thread(metric_log.read):
                alive.touch()
            await asyncio.to_thread(redraw, metric_log, folder, settings)
            alive.touch()
            problem = ""
        except OSError as error:
            if problem != str(error):
                problem = str(error)
                log.warning("the picture and the page are not redrawn: %s; trying again", problem)
        while (left := due - time.monotonic()) > 0:
            if not problem:
                alive.touch()
            await asyncio.sleep(min(left, 0.5))


def redraw(metric_log: "LogReader", folder: Path, settings: PlotSettings) -> None:
    """Replace the picture and the page, each in one step. Raises OSError."""
    newest, png = metric_log.rows.ids.max(), BytesIO()
    models = [(begin, digest) for begin, digest in read_models(folder / "models.csv") if begin <= newest]
    texts = describe(metric_log, settings, models)
    with matplotlib.rc_context(STYLE):
        if metric_log.rows.n:
            picture = draw_distribution(metric_log.rows, settings)
            texts |= {"distribution": svg(picture), "over_time": svg(draw_over_time(metric_log.rows, models))}
            if metric_log.rows.probabilities.valid:
                figure = '<figure role="img" aria-label="Share of label 1 in each tenth of the rows">'
                texts["calibration"] = f"{figure}{svg(draw_calibration(metric_log.rows.probabilities))}</figure>"
        else:
            picture = Figure(INCHES)
            picture.text(0.5, 0.5, fill(metric_log.problem or "Waiting for the first row", 60), ha="center")
        picture.savefig(png, format="png", dpi=200, pil_kwargs={"compress_level": 1})  # a sixth less work
    page = Path(__file__).with_name("report.html").read_text()
    page = re.sub(r"{{(\w+)}}", lambda match: texts.get(match[1], ""), page)
    replace(folder / "error_distribution.png", png.getvalue())
    replace(folder / "report.html", page.encode(errors="replace"))
    metric_log.warn_of_change()


# Reading


class LogReader:
    """The log, of which `read` takes in what is new; it starts over when the file is not the one read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start_over()

    def start_over(self) -> None:
        self.problem = ""  # a reason why nothing is read
        self.inode, self.size, self.modified = 0, 0, 0
        self.offset, self.tail, self.rows = 0, b"", Evaluation()
        self.writes: deque[tuple[float, float]] = deque(maxlen=LAST)  # when new rows were there, and the newest's id
        self.warned = 0  # rows there were at the last warning of a change

    def read(self) -> bool:
        """Take in the whole lines of the next chunk; returns whether there may be more. Raises OSError."""
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            self.start_over()
            return False
        with file:
            status = os.fstat(file.fileno())
            file.seek(self.offset - len(self.tail))
            if (
                status.st_ino != self.inode
                or (status.st_mtime_ns != self.modified and status.st_size <= self.size)  # metric only ever appends
                or file.read(len(self.tail)) != self.tail
            ):
                self.start_over()
                file.seek(0)
            self.inode, self.size, self.modified = status.st_ino, status.st_size, status.st_mtime_ns
            chunk = file.read(CHUNK)
        if not self.offset and not self.is_ours(chunk):
            return False
        end = chunk.rfind(b"\n") + 1  # a line still being written waits
        if not end and len(chunk) == CHUNK:
            end = CHUNK  # no row is that long
        lines = chunk[0 if self.offset else len(HEADER) : end]
        self.offset += end
        self.tail = (self.tail + chunk[:end])[-TAIL:]
        added = self.rows.add(parse(lines))
        line_ends = np.frombuffer(lines, np.uint8) == ord("\n")  # three times as fast as lines.count
        self.rows.left_out += int(np.count_nonzero(line_ends)) - added
        more = len(chunk) == CHUNK
        if added and not more:
            self.writes.append((status.st_mtime, self.rows.last[-1, 0]))
        return more

    def is_ours(self, start: bytes) -> bool:
        """Whether a log starts like this. A foreign file is logged once, since it is looked at every few seconds."""
        before, self.problem = self.problem, ""
        if not HEADER.startswith(start[: len(HEADER)]):
            header = ascii(start[:60].split(b"\n")[0].decode(errors="replace"))
            self.problem = readable(f"{self.path} is not this pipeline's log: its header is {header}")
            if self.problem != before:
                log.warning("%s instead of %s; move it away", self.problem, HEADER.decode().strip())
        return not self.problem

    def warn_of_change(self) -> None:
        """Once for each change: where it is placed can vary with every row that comes."""
        if (change := self.rows.change()) and change.row >= self.warned:
            log.warning("%s", self.rows.sentence(change))
            self.warned = self.rows.n


def parse(lines: bytes) -> Floats:
    """The lines of four fields: id, y_true, y_pred and absolute_error, with NaN where there is no number."""
    options: Any = {"header": None, "index_col": False, "on_bad_lines": "skip", "skip_blank_lines": False}
    # Any byte can stand in a line.
    options |= {"quoting": csv.QUOTE_NONE, "encoding": "latin-1", "low_memory": False, "lineterminator": "\n"}
    # pandas takes the number of fields from the first line, so a line of zeros comes first and is dropped again.
    table = pd.read_csv(BytesIO(b"0,0,0,0\n" + lines), **options)[1:]
    # Objects are whole numbers so long that they do not fit in a float.
    table = table.apply(lambda column: column.astype(str) if column.dtype == object else column)
    return table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)


def read_models(path: Path) -> Models:
    """The models so far, at least the last few hundred; lines of anything else are skipped."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2**16))
            text = file.read(2**16).decode(errors="replace")
    except OSError:
        return []
    return [
        (float(sample_id), digest)
        for sample_id, digest in re.findall(r"^(-?\d+(?:\.\d+)?(?:e[+-]\d+)?),([0-9a-f]{64})$", text, re.M)
    ]


# The maths


ONE, Y_TRUE, Y_PRED, RESIDUAL, ERROR = range(5)  # what Evaluation keeps moments of; the residual is y_pred - y_true


class Change(NamedTuple):
    """Where the mean error changed: after how many rows, the last one's id, and the means before and since."""

    row: int
    id: float
    before: float
    since: float


class Evaluation:
    """What the rows so far amount to, in memory that does not grow with them."""

    def __init__(self) -> None:
        self.n = self.left_out = 0  # rows; and lines without a finite error
        self.last = np.empty((0, 4))
        self.sketch, self.whole = kll_doubles_sketch(ACCURACY), True  # of the errors; whether all are whole numbers
        # Sums of the products of these terms; the first y_true is subtracted from y_true and y_pred, so that no large
        # numbers cancel each other out later.
        self.moments, self.origin = np.zeros((5, 5)), 0.0
        # Of the error over time: rows per point, and for each point the sum of their errors and their last id.
        self.per_point, self.sums, self.ids = 1, np.zeros(POINTS), np.zeros(POINTS)
        self.probabilities = Probabilities()  # valid while a classifier answers

    def add(self, table: Floats) -> int:
        """Take in rows of id, y_true, y_pred and absolute_error; returns how many have a finite error."""
        table = table[(np.abs(table) <= LARGEST).all(axis=1) & (table[:, 3] >= 0)]
        if not len(table):
            return 0
        self.last = np.concatenate([self.last, table])[-LAST:]
        ids, y_true, y_pred, errors = np.ascontiguousarray(table.T)
        errors = np.where(errors < SMALLEST, 0.0, errors)
        self.origin = self.origin if self.n else y_true[0]
        start, self.n = self.n, self.n + len(errors)
        terms = np.stack([np.ones(len(errors)), y_true - self.origin, y_pred - self.origin, y_pred - y_true, errors])
        self.moments += terms @ terms.T
        self.sketch.update(errors)
        self.whole = self.whole and bool((errors % 1 == 0).all())
        self.probabilities.add(y_true, y_pred)
        while self.n > POINTS * self.per_point:  # no room: two points become one
            self.sums = np.append(self.sums[::2] + self.sums[1::2], np.zeros(POINTS // 2))
            self.ids = np.append(self.ids[1::2], np.zeros(POINTS // 2))
            self.per_point *= 2
        point = np.arange(start, self.n) // self.per_point
        self.sums += np.bincount(point, errors, POINTS)
        self.ids[point] = ids
        return len(errors)

    def mean(self, term: int = ERROR) -> float:
        return float(self.moments[ONE, term] / self.n)

    def spread(self, a: int, b: int) -> float:
        """The sum of the products of two terms' deviations from their means; 0 if it is but a rounding error."""
        spread = float(self.moments[a, b] - self.moments[ONE, a] * self.moments[ONE, b] / self.n)
        return spread if abs(spread) > 1e-12 * abs(self.moments[a, b]) else 0.0

    def margin(self, term: int = ERROR) -> float:
        """Half the width of the 95 % confidence interval of a mean, if the rows are independent."""
        return (
            1.96 * math.sqrt(max(0.0, self.spread(term, term)) / (self.n - 1) / self.n) if self.n >= FEW else math.nan
        )

    def rmse(self) -> float:
        return math.sqrt(self.moments[RESIDUAL, RESIDUAL] / self.n)

    def r2(self) -> float:
        """Not a number as long as all y_true are equal."""
        total = self.spread(Y_TRUE, Y_TRUE)
        return 1 - float(self.moments[RESIDUAL, RESIDUAL]) / total if total else math.nan

    def slope(self) -> float:
        """Of the line that fits y_true to y_pred: 1 for a calibrated model. Not a number while all y_pred are equal."""
        total = self.spread(Y_PRED, Y_PRED)
        return self.spread(Y_TRUE, Y_PRED) / total if total else math.nan

    def quantiles(self, *q: float) -> list[float]:
        """Of the absolute error; where one falls between two errors, their mean."""
        both = [[self.sketch.get_quantile(share, inclusive) for share in q] for inclusive in (True, False)]
        return [float(value) for value in np.mean(both, axis=0)]

    def points(self) -> Floats:
        """The error over time: the mean of each `per_point` consecutive rows."""
        return np.asarray(self.sums[: self.n // self.per_point] / self.per_point)

    def change(self) -> Change | None:
        """Where the mean error changed, if it did: a CUSUM over the points, in units of their own scatter."""
        points = self.points()
        n = len(points)
        scatter = math.sqrt(np.mean(np.diff(points) ** 2) / 2) if n >= ROLLING else 0.0
        distance = np.abs(np.cumsum(points - points.mean())) if scatter else np.zeros(1)
        if distance.max() <= CHANGED * scatter * math.sqrt(n):
            return None
        k = int(distance.argmax()) + 1
        return Change(k * self.per_point, self.ids[k - 1], float(points[:k].mean()), float(points[k:].mean()))

    def sentence(self, change: Change) -> str:
        row, sample_id, before, since = change
        when = clock(sample_id, " (%Y-%m-%d %H:%M UTC)")
        ratio = f" ({since / before - 1:+.0%})" if since < 10 * before else ""
        was, now = (number(value, abs(since - before)) for value in (before, since))
        means = f"the mean was {was} before and is {now}{ratio} over the {plural(self.n - row)} since"
        return f"The error changed after about {plural(row)}{when}: {means}."


def bar_edges(rows: Evaluation) -> Floats:
    """Edges at round numbers, from zero and not as far as outliers that would squeeze the rest.

    Bars of single whole numbers are centred, and so is the bar of errors that are all equal.
    """
    q10, q25, q75, q90 = rows.quantiles(0.10, 0.25, 0.75, 0.90)
    smallest, largest = rows.sketch.get_min_value(), rows.sketch.get_max_value()
    fence = 4 * (q75 - q25)  # further out than what a box plot calls far out
    low, high = max(smallest, min(q10, q25 - fence)), min(largest, max(q90, q75 + fence))
    if largest <= 2 * high:
        high = largest
    if high - low <= 1e-6 * high:
        return np.asarray(high + (high / 10 or 0.1) * np.arange(-10.5 if high else -0.5, 11))
    if low <= 4 * (high - low):
        low = 0.0
    distinct = len(np.unique(rows.sketch.get_quantiles(np.linspace(0, 1, 4000))))
    bars = int(np.clip(4 * distinct ** (1 / 3), 8, 60))  # few values, again and again, get few bars
    if rows.whole and high - low <= 20:
        bars = 20
    edges = np.asarray(MaxNLocator(bars, steps=ROUND, integer=rows.whole).tick_values(low, high))
    return np.append(edges, edges[-1] + 1) - 0.5 if rows.whole and edges[1] - edges[0] == 1 else edges


# The charts


def number(value: float, span: float) -> str:
    """A value as one writes it next to an axis of this length: to a thousandth of that, and never 0 if it is not."""
    if span > 1e-3 and abs(value) < 1e9:
        text = f"{value:,.{max(0, math.ceil(3 - math.log10(span)))}f}"
        return text if text.strip("-0.,") or not value else f"{value:.2g}"
    digits = 3 + math.ceil(math.log10(abs(value) / span)) if value and span else 4
    return f"{value:.{min(max(4, digits), 12)}g}"


def tick(value: float, _: object) -> str:
    return f"{value:,.7g}" if abs(value) < 1e6 else f"{value:.5g}"


def plural(n: int) -> str:
    return f"{n:,} row" + "s" * (n != 1)


def is_time(sample_id: float) -> bool:
    """Whether an id is a time of our age."""
    return 1e9 <= sample_id < 1e10


def clock(sample_id: float, form: str) -> str:
    """The time that an id is, if it is one."""
    return time.strftime(form, time.gmtime(sample_id)) if is_time(sample_id) else ""


def fitting(characters: int) -> float:
    """The size of a font in which so many characters fit side by side on a chart."""
    return min(9.5, 560 / characters)


def new_chart(title: str) -> Any:
    axes = Figure(INCHES).add_axes((0.18, 0.27, 0.76, 0.5))
    axes.set_title(title, loc="left", x=-0.21, y=1.28, weight="bold", size=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    return axes


def name_lines(axes: Any) -> None:
    names = axes.get_legend_handles_labels()[1]
    widest = sum(max(map(len, names[i : i + 2])) + 6 for i in range(0, len(names), 2))  # two to a column
    place = {"loc": "upper left", "bbox_to_anchor": (-0.24, 1.31), "ncols": (len(names) + 1) // 2}
    axes.legend(**place, frameon=False, fontsize=fitting(widest))


def draw_distribution(rows: Evaluation, settings: PlotSettings) -> Figure:
    """The picture: bars, their density, mean, median and 95th percentile; below, what it leaves out."""
    edges = bar_edges(rows)
    low, width, high = edges[0], edges[1] - edges[0], edges[-1]
    # Between the numbers of few digits that errors mostly are: one of 0.3 may be stored as 0.299...
    splits = [*(edges[:-1] - 1e-6 * width), high + 1e-6 * width]
    bars = rows.n * np.array(rows.sketch.get_pmf(splits)[1:-1])
    middles = (edges[:-1] + edges[1:]) / 2
    # Mirrored at its lower end, where it would drop otherwise, and smooth over the width of a bar, so it follows them.
    x, weights = np.append(2 * low - middles, middles), np.append(bars, bars)
    curve = rows.n >= FEW and np.count_nonzero(bars) > 1 and not (rows.whole and width == 1)
    bandwidth = width / math.sqrt(np.cov(x, aweights=weights)) if curve else 1.0
    axes = new_chart(f"Distribution of absolute error over {plural(rows.n)}")
    sns.histplot(
        x=x,
        weights=weights,
        bins=[*(2 * low - edges[:0:-1]), *edges],
        kde=curve,
        kde_kws={"bw_method": bandwidth, "cut": 0.5, "gridsize": 400},
        color=BAR,
        alpha=1,
        edgecolor=PAPER,
        ax=axes,
    )
    for line in axes.lines:
        line.set(color=BLUE, label="density")
    median, p95 = rows.quantiles(0.5, 0.95)
    lines = ("mean", rows.mean(), ORANGE, "-"), ("median", median, INK, "--"), ("95th percentile", p95, QUIET, ":")
    for name, value, colour, dash in lines:
        beyond = "" if low <= value <= high else ", beyond the axis"
        axes.axvline(value, color=colour, linestyle=dash, label=f"{name} {number(value, high - low)}{beyond}")
    notes = []
    if rows.left_out:
        notes.append(f"{plural(rows.left_out)} without a finite error")
    if outside := rows.n - round(bars.sum()):
        largest = rows.sketch.get_max_value()
        notes.append(f"{plural(outside)} beyond the axis, the largest {number(largest, largest)}")
    if change := rows.change():
        before, since = (number(value, high - low) for value in (change.before, change.since))
        notes.append(f"changed after row {change.row:,}: mean {before} before, {since} since")
    axes.set(xlim=(low, high), ylim=(0, None), ylabel=f"rows per bar of {width:,.4g}")
    label = f"absolute error, in {readable(settings.unit) or 'the unit of the target'}"
    axes.set_xlabel(label, size=fitting(len(label)))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=rows.whole))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND, integer=True))
    axes.figure.text(0.02, 0.02, "\n".join([*notes, settings.of_what()[:80]]), size=7.5, color=QUIET)
    name_lines(axes)
    return axes.figure


def draw_over_time(rows: Evaluation, models: Models) -> Figure:
    """The points and their rolling mean, where the error changed and where the model was replaced."""
    points = rows.points()
    ids = rows.ids[: len(points)]
    middles = (np.arange(len(points)) + 0.5) * rows.per_point + 0.5
    axes = new_chart("Absolute error over time")
    usual = 3 * np.quantile(points, 0.95)  # as in the distribution, outliers do not squeeze the rest
    top = 1.08 * (min(usual, points.max()) or points.max() or 1.0)
    each = "one row" if rows.per_point == 1 else f"mean of {rows.per_point:,} rows"
    if beyond := np.count_nonzero(points > top):
        each += f" ({beyond} beyond the axis)"
    sns.scatterplot(x=middles, y=points, color=BLUE, alpha=0.5, s=14, linewidth=0, label=each, ax=axes)
    if len(points) >= ROLLING:
        rolling, label = pd.Series(points).rolling(ROLLING).mean(), f"mean of the last {ROLLING} points"
        sns.lineplot(x=middles, y=rolling, color=BLUE, estimator=None, label=label, ax=axes)
    if change := rows.change():
        axes.axvline(change.row, color=BAD, linestyle="--", label="error changed")
        axes.hlines([change.before, change.since], [0, change.row], [change.row, rows.n], color=BAD, linewidth=1)
    newest = np.maximum.accumulate(ids)  # so far: rows whose label came late have older ids
    replaced = [place * rows.per_point for sample_id, _ in models if (place := int(np.searchsorted(newest, sample_id)))]
    for row in sorted(set(replaced))[-LAST:]:
        axes.axvline(row, color=INK, linestyle=":", label="model replaced" if row == replaced[-1] else None)
    span = newest[-1] - newest[0]
    form = "%H:%M:%S" if span < 600 else "%H:%M" if span < 86400 else "%d %b" if span < 3e7 else "%b %Y"

    def row_and_time(row: float, _: object) -> str:
        point = min(int(max(row - 1, 0) / rows.per_point), len(ids) - 1)  # the last rows may not make a point yet
        return f"{row:,.0f}\n{clock(ids[point], form)}" if row <= rows.n else f"{row:,.0f}"

    axes.set(xlim=(0, max(1.02 * rows.n, 2)), ylim=(0, top), ylabel="absolute error")
    axes.set_xlabel("rows written, and the time of their ids (UTC)")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(row_and_time))
    name_lines(axes)
    return axes.figure


def draw_calibration(probabilities: Probabilities) -> Figure:
    """How often the label is 1 where a probability is predicted: on the diagonal, if the model is calibrated."""
    predicted, share, low, high = probabilities.calibration()
    axes = new_chart("Calibration")
    sns.lineplot(x=[0, 1], y=[0, 1], color=QUIET, linestyle=":", estimator=None, label="calibrated", ax=axes)
    sns.scatterplot(x=predicted, y=share, color=BLUE, s=28, label="a tenth of the rows, 95 % interval", ax=axes)
    axes.vlines(predicted, low, high, color=BLUE, linewidth=1.2)
    top = min(1.0, 1.1 * max(high.max(), predicted.max()))  # of a rare label, all are small
    limits = (-0.03 * top, 1.03 * top)
    axes.set(xlim=limits, ylim=limits, xlabel="predicted probability", ylabel="share of label 1")
    name_lines(axes)
    return axes.figure


def svg(figure: Figure) -> str:
    """The figure as an element of the page. Its colours get the names that the page gives them, for the dark."""
    file = BytesIO()
    figure.savefig(file, format="svg", transparent=True)
    text = re.sub(r'<g id="[^"]*"', "<g", file.getvalue().decode())  # ids that are the same in both charts
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text[text.index("<svg") :]


# The page


def duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or unit == "s":
            break
    return f"{seconds / size:,.0f} {unit}" if seconds >= 1 else "less than 1 s"


def state(metric_log: LogReader, now: float) -> tuple[str, str, str]:
    """Its kind, its name and a sentence. A row is as old as its writing, since labels may come long after the id."""
    if metric_log.problem:
        return "bad", "Not the log", html.escape(metric_log.problem)
    if not metric_log.writes:
        return "", "Waiting for the first row", ""
    seen = [when for when, _ in metric_log.writes]
    ids = [each for each in metric_log.rows.last[:, 0] if is_time(each)]
    times = seen if len(seen) > 1 else ids  # until two writes were seen, the ids stand in
    age, limit = now - seen[-1], max(60.0, 6 * float(np.median(np.diff(times)))) if len(times) > 1 else 60.0
    if age > limit:
        return "bad", "Stalled", f"No new row for {duration(age)}; more than {duration(limit)} is unusual here."
    return "good", "Running", f"When this was drawn, the newest row was {duration(age)} old."


def describe(metric_log: LogReader, settings: PlotSettings, models: Models) -> dict[str, str]:
    """What stands in the page, as HTML, by its names in report.html; numbers only where there are rows."""
    rows, now = metric_log.rows, time.time()
    texts = dict(zip(("kind", "state", "sentence"), state(metric_log, now), strict=True)) | {
        "of_what": html.escape(settings.of_what()) + (f", model {models[-1][1][:12]}" if models else ""),
        "unit": html.escape(settings.unit) or "the unit of the target",
        "in_unit": html.escape(f" {settings.unit}".rstrip()),
        "drawn": f"{now:.1f}",
        "as_of": clock(now, "%Y-%m-%d %H:%M:%S UTC"),
        "interval": f"{settings.plot_interval:g}",
        "bundled": "hidden" if settings.dataset else "",
        "left_out": f"{plural(rows.left_out)} without a finite error left out." if rows.left_out else "",
    }
    if not rows.n:
        return texts
    (median, p95), largest, bias = rows.quantiles(0.5, 0.95), rows.sketch.get_max_value(), rows.mean(RESIDUAL)
    shown = partial(number, span=p95 or largest or 1.0)
    delays = [when - sample_id for when, sample_id in metric_log.writes if is_time(sample_id)]

    def with_margin(term: int) -> str:
        value, margin = abs(rows.mean(term)), rows.margin(term)
        return f"{number(value, 30 * margin)} ± {number(margin, 30 * margin)}" if rows.n >= FEW else shown(value)

    if rows.probabilities.valid:
        area = rows.probabilities.area()
        scores = {"Brier score (RMSE²)": f"{rows.rmse() ** 2:.4f}", "Log loss": f"{rows.probabilities.log_loss():.4f}"}
        scores |= {"Area under the ROC curve": "not defined" if math.isnan(area) else f"{area:.3f}"}
        texts["area"] = "The area is the share of pairs of a 1 and a 0 in which the 1 has the higher prediction."
        texts["scores"] = "".join(f'<tr><th scope="row">{name}<td>{value}' for name, value in scores.items())
    return texts | {
        "rows": f"{rows.n:,}",
        "mean": shown(rows.mean()),
        "mean_margin": with_margin(ERROR),
        "median": shown(median),
        "p95": shown(p95),
        "largest": number(largest, largest),
        "rmse": shown(rows.rmse()),
        "r2": "not defined" if math.isnan(rows.r2()) else number(rows.r2(), max(1.0, -rows.r2())),
        "slope": "not defined" if math.isnan(rows.slope()) else number(rows.slope(), 10.0),
        "most": "19 of 20 predictions" if rows.n >= 20 else "All predictions so far",
        "bias": with_margin(RESIDUAL),
        "direction": "high" if bias > 0 else "low",
        "chance": "" if abs(bias) > rows.margin(RESIDUAL) else ", which can be chance",
        "delay": duration(float(np.median(delays))) if delays else "not known: the ids are no times",
        "change": rows.sentence(change) if (change := rows.change()) else "",
        "last": "".join(
            f"<tr><th scope=row>{sample_id!r}<td>{clock(sample_id, '%d %b %H:%M:%S')}<td>"
            + "<td>".join(map(shown, values))
            for sample_id, *values in rows.last[::-1].tolist()
        ),
    }


if __name__ == "__main__":
    run("plot", PlotSettings, main)
