"""groups: the error for each group of a column of the dataset, such as sex or age.

Prints n, the mean absolute error and the mean signed error (y_pred - y_true) of each group with their 95 % intervals,
and draws them in LOGS_DIR/groups.png. BY names the column: any one of the dataset, also one in DROP_COLUMNS, also text.
Numbers with many values make four groups of about equal size, or fewer where one of them is very frequent.

Each row of the dataset counts once, however often it was drawn. The ids lead to the rows as long as features has no
SEED; where they do not, only the reason is printed.
"""

from analysis import BLUE, QUIET, mean_and_margin, read_log, rows_behind, save, with_margin
from pipeline.dataset import HELD_OUT, DataSettings, listed, read_column, read_names
from pipeline.settings import UnusableError, one_line_errors, read

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

QUANTILES = 4  # groups of a column of numbers
VALUES = 6  # different numbers that still make a group each
GROUPS = 20  # at most
ERRORS = {"mean absolute error": "", "mean signed error": "+"}  # and how their sign is printed


@dataclass(frozen=True, kw_only=True)
class GroupsSettings(DataSettings):
    by: str = ""  # the column
    logs_dir: str = "logs"


def main() -> None:
    with one_line_errors("groups"):
        groups(read(GroupsSettings))


def groups(settings: GroupsSettings) -> None:
    """Print the errors of each group and draw them. Raises UnusableError."""
    if settings.by not in (names := read_names(settings)):
        raise UnusableError(f"BY={settings.by!r}: takes one of the columns {listed(names)}")
    log = read_log(settings.logs_dir)
    rows = rows_behind(log, settings)
    if foreign := np.count_nonzero(rows < 0):
        raise UnusableError(
            f"DATASET={settings.dataset!r}: the labels of {foreign:,} of {len(log):,} rows of the log are not those of "
            "the rows that their ids lead to: set DATASET, TARGET and DROP_COLUMNS as for features, which must have no "
            "SEED and be the only producer; and move a log of other data away"
        )
    signed = log["y_pred"] - log["y_true"]
    table = pd.DataFrame(dict(zip(ERRORS, (signed.abs(), signed), strict=True))).groupby(rows).mean()
    table["group"] = grouped(read_column(settings, settings.by)[::HELD_OUT].reset_index(drop=True)[table.index])
    by_group = table.groupby("group", observed=True)
    print(f"{len(log):,} rows of the log, from {len(table):,} rows of the dataset, which count once each")
    print(f"{settings.by:24}{'n':>6}" + "".join(f"{name:>24}" for name in ERRORS))
    for name, group in by_group:
        cells = [with_margin(*mean_and_margin(group[error], group.index), sign) for error, sign in ERRORS.items()]
        print(f"{name!s:24.40}{len(group):>6,}" + "".join(f"{cell:>24}" for cell in cells))
    print(f"Groups looked at: {len(by_group)}. One in 20 such intervals misses the true value by chance.")
    save(draw(table, settings.by), Path(settings.logs_dir, "groups.png"))


def grouped(column: pd.Series) -> Any:
    """The group of each value, as categories in their order. Raises UnusableError where text makes too many."""
    column = column.replace("", np.nan)
    if not pd.api.types.is_numeric_dtype(column):
        keys, names = column, dict[Any, str]((text, text) for text in sorted(column.dropna().unique()))
    else:
        many = column.nunique() > VALUES
        keys = np.ceil(QUANTILES * column.rank(pct=True)) if many else column  # equal values have one rank, their mean
        ranges = column.groupby(keys).agg(["min", "max"]).itertuples()
        bounds = {key: (low, high) for key, low, high in ranges}
        texts = shortened({value for pair in bounds.values() for value in pair})
        names = {key: " to ".join(dict.fromkeys(texts[value] for value in pair)) for key, pair in bounds.items()}
    if len(names) > GROUPS:
        raise UnusableError(f"BY={column.name!r}: takes numbers, or text of {GROUPS} kinds at most, not {len(names)}")
    groups = keys.map(names).astype(object).fillna("missing")
    return pd.Categorical(groups, [*dict.fromkeys([*names.values(), "missing"])]).remove_unused_categories()


def shortened(values: Collection[float]) -> dict[float, str]:
    """Whole numbers as they are, others with as few digits, at least four, as keep all of them apart."""
    for digits in range(4, 18):
        texts = {value: f"{value:.{15 if value % 1 == 0 else digits}g}" for value in values}
        if len({*texts.values()}) == len(values):
            break
    return texts


def draw(table: pd.DataFrame, by: str) -> Figure:
    """A point with its interval for each group and error, next to the mean of all rows, and zero."""
    counts = table["group"].value_counts(sort=False)

    def ends(values: pd.Series) -> tuple[float, float]:
        mean, margin = mean_and_margin(values, values.index)
        return mean - margin, mean + margin

    longest = max(len(str(name)[:40]) for name in counts.index)
    figure = Figure((7.2 + 0.07 * max(0, longest - 16), 1.6 + 0.35 * len(counts)), layout="constrained")
    for axes, error in zip(figure.subplots(1, 2, sharey=True), ERRORS, strict=True):
        axes.axvline(table[error].mean(), color=QUIET, linestyle=":")
        sns.pointplot(table, x=error, y="group", errorbar=ends, linestyle="none", markersize=5, color=BLUE, ax=axes)
        axes.set(ylabel=None, xlabel=f"{error}, 95 % interval")
        axes.set_yticks(range(len(counts)), [f"{name!s:.40} (n = {n:,})" for name, n in counts.items()])
        axes.spines[["top", "right"]].set_visible(False)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    figure.suptitle(f"Error by {by}; dotted: all groups together", x=0.02, ha="left", size=10.5, weight="bold")
    return figure


if __name__ == "__main__":
    main()
