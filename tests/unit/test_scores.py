"""The scores of probabilities are those of scikit-learn and of statistics' textbooks."""

from __future__ import annotations

from pipeline.scores import Probabilities

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

Floats = NDArray[np.float64]

CLASSIFIERS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "calibrated": lambda random, n: random.uniform(0, 1, n),
    "rare": lambda random, n: random.beta(0.05, 50, n),
    "confident": lambda random, n: random.beta(0.05, 0.05, n),
    "a tree": lambda random, n: random.choice([0.0, 0.2, 0.201, 1.0], n),
    "too sure": lambda random, n: 1 / (1 + np.exp(np.clip(random.normal(0, 20, n), -36, 600))),
    "not sure": lambda random, n: random.normal(0.1, 2e-3, n),
    "always one half": lambda random, n: np.full(n, 0.5),
}
classifiers = pytest.mark.parametrize("classifier", CLASSIFIERS)


def classified(classifier: str, n: int) -> tuple[Floats, Floats, Probabilities]:
    """Labels that are 1 as often as predicted, both classes at least once; the predictions; and what they amount to."""
    random = np.random.default_rng(n)
    p = CLASSIFIERS[classifier](random, n)
    y = (random.random(n) < p).astype(float)
    lowest, *_, highest = np.argsort(p, kind="stable")
    y[[lowest, highest]] = 0, 1
    probabilities = Probabilities()
    for part in np.array_split(np.column_stack([y, p]), 3):
        probabilities.add(*part.T)
    return y, p, probabilities


@classifiers
@pytest.mark.parametrize("n", [10, 1000, 100_000])
def test_scores_of_probabilities_are_scikit_learns(classifier: str, n: int) -> None:
    y, p, probabilities = classified(classifier, n)
    assert probabilities.valid
    assert probabilities.log_loss() == pytest.approx(log_loss(y, p), rel=1e-9)
    zeros, ones, _ = probabilities.bins
    in_one_bin = zeros @ ones / (zeros.sum() * ones.sum())  # they count half, whatever they are
    exact = classifier in ("a tree", "always one half")
    assert probabilities.area() == pytest.approx(roc_auc_score(y, p), abs=1e-12 if exact else in_one_bin / 2 + 1e-12)
    assert n < 1000 or probabilities.area() == pytest.approx(roc_auc_score(y, p), abs=0.001)


@classifiers
def test_calibration_counts_every_row_once(classifier: str) -> None:
    y, p, probabilities = classified(classifier, 100_000)
    predicted, share, low, high = probabilities.calibration()
    assert len(predicted) <= 10
    assert (np.diff(predicted) > 0).all()
    assert ((low <= share + 1e-12) & (share <= high + 1e-12) & (low >= -1e-12) & (high <= 1 + 1e-12)).all()
    if classifier == "calibrated":
        for tenth in range(10):
            inside = (p >= tenth / 10) & (p < (tenth + 1) / 10)  # the deciles of a uniform distribution
            assert predicted[tenth] == pytest.approx(p[inside].mean(), abs=0.005)
            assert share[tenth] == pytest.approx(y[inside].mean(), abs=0.01)
    if classifier == "a tree":
        assert predicted.tolist() == pytest.approx([0.0, 0.2, 0.201, 1.0])
        assert share.tolist() == pytest.approx([y[p == value].mean() for value in (0.0, 0.2, 0.201, 1.0)])
    if classifier == "always one half":
        ones, z2 = int(y.sum()), 1.96**2
        assert (predicted.tolist(), share.tolist()) == ([0.5], [ones / 1e5])
        for end in (low[0], high[0]):  # Wilson's interval: where the score test does not reject
            assert (ones / 1e5 - end) ** 2 == pytest.approx(z2 * end * (1 - end) / 1e5)


def test_nineteen_of_twenty_intervals_of_a_calibrated_model_hold_what_it_predicts() -> None:
    hits = 0
    for seed in range(100):
        p = np.random.default_rng(seed).uniform(0, 1, 500)
        y = (np.random.default_rng(seed + 1000).random(500) < p).astype(float)
        probabilities = Probabilities()
        probabilities.add(y, p)
        predicted, _, low, high = probabilities.calibration()
        hits += int(np.count_nonzero((low <= predicted) & (predicted <= high)))
    assert 930 <= hits <= 985


@pytest.mark.parametrize("other", [(0.5, 0.5), (1.0, 1.01), (0.0, -0.1), (2.0, 1.0), (0.0, math.nan)])
def test_one_row_that_is_no_probability_is_enough(other: tuple[float, float]) -> None:
    probabilities = Probabilities()
    for y, p in ((0.0, 0.25), (1.0, 0.5)):
        probabilities.add(np.array([y]), np.array([p]))
    assert probabilities.valid
    for y, p in (other, (0.0, 0.25)):
        probabilities.add(np.array([y]), np.array([p]))
    assert not probabilities.valid


def test_without_both_classes_there_is_no_area() -> None:
    probabilities = Probabilities()
    probabilities.add(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    assert math.isnan(probabilities.area())
    assert probabilities.log_loss() == pytest.approx(log_loss([1, 1], [0, 1], labels=[0, 1]))
