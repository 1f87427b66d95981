"""What `make compare` and `make groups` share: the log, the rows of the dataset behind it, intervals and pictures."""

from pipeline.dataset import HELD_OUT, DataSettings, load, row_of
from pipeline.files import HEADER, LARGEST, replace
from pipeline.settings import UnusableError, readable

import csv
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import stdtrit

QUIET, BAR, BLUE, ORANGE = "#5a5a5a", "#bcd4e6", "#0072b2", "#c24e00"  # as in plot
matplotlib.rcParams["text.parse_math"] = False  # names are no formulas


def read_log(folder: str) -> pd.DataFrame:
    """The rows of a log as id, y_true, y_pred and absolute_error. Raises UnusableError where there are none.

    Foreign lines, and one that is being written, are left out: they are not four numbers.
    """
    path, options = Path(folder, "metric_log.csv"), dict[str, Any](index_col=False, on_bad_lines="skip")
    options |= {"quoting": csv.QUOTE_NONE, "encoding": "latin-1", "low_memory": False}
    try:
        log = pd.read_csv(path, **options)
    except OSError as error:
        raise UnusableError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:  # empty, or no text
        log = pd.DataFrame()
    header, expected = ",".join(log.columns), HEADER.decode().strip()
    if header != expected:
        raise UnusableError(f"{path}: takes a log of metric, whose header is {expected}, not {header[:80]!r}")
    log = log.apply(lambda column: column.astype(str) if column.dtype == object else column)  # as in plot
    log = log.apply(pd.to_numeric, errors="coerce")
    log = log[(log.abs() <= LARGEST).all(axis=1)].drop_duplicates("id")
    if log.empty:
        raise UnusableError(f"{path}: has no rows yet")
    return log


def rows_behind(log: pd.DataFrame, settings: DataSettings) -> NDArray[np.int64]:
    """The streamed row of the dataset for each row of the log, -1 where its label is another. Raises UnusableError."""
    labels = load(settings).y[::HELD_OUT].to_numpy()
    rows = np.array([row_of(sample_id, len(labels)) for sample_id in log["id"].tolist()])
    return np.where(labels[rows] == log["y_true"], rows, -1)


def mean_and_margin(values: pd.Series, samples: Any) -> tuple[float, float]:
    """The mean, and half its 95 % confidence interval (NaN for one sample).

    `samples` tells which values belong together, such as those of one patient: only samples are independent. Student's
    t on the sums of the samples' deviations, the cluster-robust variance of a mean.
    """
    mean = values.mean()
    sums = (values - mean).groupby(samples).sum().to_numpy()
    k = len(sums)
    margin = stdtrit(k - 1, 0.975) * math.sqrt(k / (k - 1) * (sums**2).sum()) / len(values) if k > 1 else math.nan
    return float(mean), float(margin)


def with_margin(mean: float, margin: float, sign: str = "") -> str:
    """As `50.1 ± 9.3`: to three digits of the margin."""
    digits = min(12, max(0, 2 - math.floor(math.log10(margin)))) if margin > 0 else 3
    return f"{mean:{sign},.{digits}f} ± {margin:,.{digits}f}".replace("nan", "unknown")


def save(figure: Figure, path: Path) -> None:
    """Replace the picture in one step. Raises UnusableError."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=150)
    try:
        replace(path, png.getvalue())
    except OSError as error:
        raise UnusableError(f"{path}: cannot be written: {error.strerror}") from None
    print(f"picture: {readable(str(path))}")
