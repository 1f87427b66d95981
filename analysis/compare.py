"""compare: which of two models errs less on the same samples, and whether that can be decided yet.

Joins the logs in the two folders that LOGS names by id, prints both mean absolute errors and their paired difference
with its 95 % interval, and draws the differences in `compare.png` in the first folder.

A row of the dataset counts once, however often it was drawn. Where the ids do not lead to rows of DATASET (an own
producer, or SEED), pairs with the same y_true and the same two y_pred are taken as draws of one sample.
"""

from analysis import BAR, ORANGE, QUIET, mean_and_margin, read_log, rows_behind, save, with_margin
from pipeline.dataset import DataSettings
from pipeline.settings import UnusableError, one_line_errors, read, readable

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
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
    names = [readable(folder) for folder in folders]
    pairs = join(folders)
    errors = pd.DataFrame({i: (pairs[f"y_pred{i}"] - pairs["y_true"]).abs() for i in (0, 1)})
    rows = rows_behind(pairs, settings)
    if (rows >= 0).all():
        errors = errors.groupby(rows).mean()
        samples = pd.Series(errors.index, errors.index)
        print(f"{len(pairs):,} pairs, from {len(errors):,} rows of the dataset, which count once each")
    else:
        # As float32, since a model may answer differently in the last digits.
        residuals = [(pairs[f"y_pred{i}"] - pairs["y_true"]).astype(np.float32) for i in (0, 1)]
        samples = pairs.groupby([pairs["y_true"], *residuals]).ngroup()
        print(f"{len(pairs):,} pairs, of {samples.nunique():,} different values; equal ones are taken as one sample")
    for i in (0, 1):
        print(f"mean absolute error in {names[i]}: {with_margin(*mean_and_margin(errors[i], samples))}")
    difference = errors[1] - errors[0]
    mean, margin = mean_and_margin(difference, samples)
    print(f"{names[1]} minus {names[0]}: {with_margin(mean, margin, '+')} (95 % interval)")
    better = names[int(mean < 0)]
    if not difference.any():
        verdict = "Both err alike in every row."
    elif samples.nunique() < FEW:
        verdict = f"Which one is better cannot be decided yet: {FEW} samples are needed."
    elif abs(mean) <= margin:
        verdict = "Which one is better cannot be decided yet: the interval of the difference includes 0."
    else:
        verdict = f"The model of {better} is better."
    print(verdict)
    if samples.nunique() < FEW <= len(pairs) and (rows < 0).any():
        print("Ids that lead to rows of DATASET would show which of the equal pairs are different samples.")
    save(draw(difference.groupby(samples).mean(), mean, margin, names, verdict), Path(folders[0], "compare.png"))


def join(folders: list[str]) -> pd.DataFrame:
    """The pairs with the same id and label: y_true, y_pred0 and y_pred1. Prints what is left out."""
    logs = [read_log(folder) for folder in folders]
    both = logs[0].merge(logs[1], on="id", suffixes=("0", "1"))
    pairs = both[both["y_true0"] == both["y_true1"]].rename(columns={"y_true0": "y_true"})
    for folder, log in zip(folders, logs, strict=True):
        if alone := len(log) - len(both):
            print(f"left out: {alone:,} ids that only {readable(folder)} has")
    if differ := len(both) - len(pairs):
        print(f"left out: {differ:,} ids whose y_true differs")
    if pairs.empty:
        wrong = "their ids have different labels" if len(both) else "no id is in both"
        raise UnusableError(f"LOGS={','.join(folders)!r}: {wrong}: both models have to get the same samples")
    return pairs


def draw(differences: pd.Series, mean: float, margin: float, names: list[str], verdict: str) -> Figure:
    """A histogram of the differences, one for each sample; zero, and the mean with its interval."""
    figure = Figure((6.4, 4), layout="constrained")
    axes = figure.subplots()
    low, high = (differences.quantile(*q) for q in ((0.005, "lower"), (0.995, "higher")))  # no outliers among many
    size = max(abs(low), abs(high), abs(mean))
    pad = 0.0 if high - low > 1e-6 * size else size or 0.5
    sns.histplot(
        x=differences, bins=20, binrange=(low - pad, high + pad), color=BAR, alpha=1, edgecolor="white", ax=axes
    )
    axes.axvline(0, color=QUIET, linestyle=":", label="no difference")
    axes.axvline(mean, color=ORANGE, label=f"mean {with_margin(mean, margin, '+')}")
    axes.axvspan(mean - margin, mean + margin, color=ORANGE, alpha=0.2, linewidth=0)
    beyond = np.count_nonzero((differences < low) | (differences > high))
    note = f", {beyond:,} of them beyond the axis" if beyond else ""
    axes.set_title(f"{verdict}\n{len(differences):,} samples{note}", loc="left", size=9.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"absolute error: {names[1]} minus {names[0]}", ylabel="samples")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
