"""How good predicted probabilities are: for the page of a classifier, in memory that does not grow with the rows."""

import math

import numpy as np
from numpy.typing import NDArray

TINY = np.concatenate([np.logspace(-300, -20, 2800), np.logspace(-20, -4, 1600)])  # of models that are (too) sure
EDGES = np.unique(np.concatenate([TINY, np.linspace(0, 1, 100_001), 1 - TINY]))  # between which they are counted
TENTHS = 10  # points of the calibration chart


class Probabilities:
    """Labels of 0 and 1, and the probability of 1 that was predicted for each.

    The log loss and the calibration are exact. For the area under the ROC curve, predictions in the same one of 100,000
    bins count as equal.
    """

    def __init__(self) -> None:
        self.valid = True  # all labels so far are 0 or 1, and all predictions from 0 to 1
        self.log_likelihood = 0.0
        self.bins = np.zeros((3, len(EDGES) - 1))  # in each the labels 0, the labels 1 and the sum of the predictions

    def add(self, y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> None:
        """Take in both values of each row. Others than labels and probabilities make `valid` false for good."""
        self.valid = self.valid and bool((np.isin(y_true, (0, 1)) & (y_pred >= 0) & (y_pred <= 1)).all())
        if not self.valid:
            return
        bins = np.clip(np.searchsorted(EDGES, y_pred, "right"), 1, len(EDGES) - 1) - 1
        self.bins += [np.bincount(bins, weights, len(EDGES) - 1) for weights in (1 - y_true, y_true, y_pred)]
        of_truth = np.abs(1 - y_true - y_pred)
        self.log_likelihood += float(np.log(np.maximum(of_truth, np.finfo(float).eps)).sum())

    def log_loss(self) -> float:
        """As scikit-learn has it: a probability of 0 for what happened counts as 2.2e-16."""
        return float(0.0 - self.log_likelihood / self.bins[:2].sum())

    def area(self) -> float:
        """Under the ROC curve: the share of pairs of a 1 and a 0 in which the 1 has the higher prediction."""
        zeros, ones, _ = self.bins
        pairs = zeros.sum() * ones.sum()
        return float((np.cumsum(zeros) - zeros / 2) @ ones / pairs) if pairs else math.nan

    def calibration(self) -> NDArray[np.float64]:
        """For each tenth of the rows in order of prediction: mean prediction, share of 1, its 95 % Wilson interval.

        Shape (4, number of tenths that have rows).
        """
        rows = self.bins[0] + self.bins[1]
        tenth = (TENTHS * (np.cumsum(rows) - rows / 2) / rows.sum()).astype(int)
        sums = np.stack([np.bincount(tenth, values, TENTHS) for values in (rows, *self.bins[1:])])
        n, ones, predictions = sums[:, sums[0] > 0]
        share, z2 = ones / n, 1.96**2 / n
        middle, half = (share + z2 / 2) / (1 + z2), np.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
        return np.stack([predictions / n, share, middle - half, middle + half])
