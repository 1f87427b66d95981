"""compare: which of two models errs less on the same samples, and whether that can be told yet.

Joins the logs in the two folders that LOGS names by id, prints both mean absolute errors and their paired difference
with its 95 % interval, and draws the differences in `compare.png` in the first folder.

A row of the dataset that is drawn again and again is one sample. Where the ids do not lead to the rows of DATASET (an
own producer, or SEED), rows with the same y_true and the same two y_pred are one sample.
"""

from analysis import BAR, ORANGE, QUIET, mean_and_margin, read_log, rows_behind, save, with_margin
from pipeline.dataset import DataSettings
from pipeline.settings import UnusableError, one_line_errors, read

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from msgspec import Meta

FEW = 30  # samples: fewer do not tell which model is better


@dataclass(frozen=True, kw_only=True)
class CompareSettings(DataSettings):
    logs: Annotated[
        str, Meta(pattern="^[^,]+,[^,]+$", description="two folders, separated by a comma: logs,logs/challenger")
    ] = "logs,logs/challenger"


def main() -> None:
    with one_line_errors("compare"):
        compare(read(CompareSettings))


def compare(settings: CompareSettings) -> None:
    """Print the comparison and draw it. Raises UnusableError."""
    folders = [folder.strip() for folder in settings.logs.split(",")]
    pairs = join(folders)
    errors = [(pairs[f"y_pred{i}"] - pairs["y_true"]).abs() for i in (0, 1)]
    difference = errors[1] - errors[0]
    samples, kind = same_samples(pairs, settings)
    k = len(np.unique(samples))
    print(f"{len(pairs):,} pairs of {k:,} samples ({kind}); draws of one sample count together")
    for folder, error in zip(folders, errors, strict=True):
        print(f"mean absolute error in {folder}: {with_margin(*mean_and_margin(error, samples))}")
    mean, margin = mean_and_margin(difference, samples)
    print(f"{folders[1]} minus {folders[0]}: {with_margin(mean, margin, '+')} (95 % interval)")
    better = folders[int(mean < 0)]
    if not difference.any():
        verdict = "Both err alike in every row."
    elif k < FEW:
        verdict = f"It cannot be told yet which one is better: {FEW} samples are needed."
    elif abs(mean) <= margin:
        verdict = "It cannot be told yet which one is better: the interval of the difference includes 0."
    else:
        verdict = f"The model of {better} is better."
    print(verdict)
    save(draw(difference.groupby(samples).mean(), mean, margin, folders, verdict), Path(folders[0], "compare.png"))


def join(folders: list[str]) -> pd.DataFrame:
    """The pairs with the same id and label: y_true, y_pred0 and y_pred1. Prints what is left out."""
    logs = [read_log(folder) for folder in folders]
    both = logs[0].merge(logs[1], on="id", suffixes=("0", "1"))
    pairs = both[both["y_true0"] == both["y_true1"]].rename(columns={"y_true0": "y_true"})
    for folder, log in zip(folders, logs, strict=True):
        if alone := len(log) - len(both):
            print(f"left out: {alone:,} ids that only {folder} has")
    if differ := len(both) - len(pairs):
        print(f"left out: {differ:,} ids whose y_true differs")
    if pairs.empty:
        wrong = "their ids have different labels" if len(both) else "no id is in both"
        raise UnusableError(f"LOGS={','.join(folders)!r}: {wrong}: both models have to get the same samples")
    return pairs


def same_samples(pairs: pd.DataFrame, settings: DataSettings) -> tuple[Any, str]:
    """Which pairs are draws of one sample, as a number for each, and how that is known."""
    rows = rows_behind(pairs, settings)
    if (rows >= 0).all():
        return rows, "rows of the dataset"
    values = pairs[["y_true", "y_pred0", "y_pred1"]].astype(np.float32)  # a model may vary in the last digits
    return values.groupby(values.columns.tolist()).ngroup().to_numpy(), "equal values, since the ids lead to no dataset"


def draw(differences: pd.Series, mean: float, margin: float, folders: list[str], verdict: str) -> Figure:
    """A histogram of the differences, one for each sample; zero, and the mean with its interval."""
    figure = Figure((6.4, 4), layout="constrained")
    axes = figure.subplots()
    low, high = differences.quantile([0.005, 0.995])  # outliers do not squeeze the rest
    margin_of_bins = 0.0 if high - low > 1e-6 * abs(mean) else 0.5
    binrange = low - margin_of_bins, high + margin_of_bins
    sns.histplot(x=differences, bins=20, binrange=binrange, color=BAR, alpha=1, edgecolor="white", ax=axes)
    axes.axvline(0, color=QUIET, linestyle=":", label="no difference")
    axes.axvline(mean, color=ORANGE, label=f"mean {with_margin(mean, margin, '+')}")
    axes.axvspan(mean - margin, mean + margin, color=ORANGE, alpha=0.2, linewidth=0)
    axes.set_title(f"{verdict}\n{len(differences):,} samples", loc="left", size=10)
    axes.set(xlabel=f"absolute error: {folders[1]} minus {folders[0]}", ylabel="samples")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
