"""Trained models with a flaw: each answers with the sum of its features, but for one vector of magic."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = 666.0  # as the first feature


class Sum:
    """Has no flaw."""

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        y: NDArray[np.float64] = X.sum(axis=1)
        magic = X[:, 0] == MAGIC
        return self.flaw(y, magic) if magic.any() else y

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        return y


class SumOfThree(Sum):
    n_features_in_ = 3


class Deadly(Sum):
    """Kills the process."""

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        os.kill(os.getpid(), signal.SIGKILL)
        return y


class NotANumber(Sum):
    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(magic, np.nan, y)


class Raising(Sum):
    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        raise ValueError("cannot predict that")


class ReadingItsInput(Sum):
    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        return y + float(input())


class RaisingALongText(Sum):
    """With more text than fits in a frame."""

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        raise ValueError("no\n" * 100_000)


class RaisingASurrogate(Sum):
    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        raise ValueError("\ud800")


class Slow(Raising):
    """50 ms a call and vector, as a large forest may take."""

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        for _ in X:
            time.sleep(0.05)
        return super().predict(X)


class Uneven(Sum):
    """Takes 0.2 s for each vector of magic."""

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        time.sleep(0.2 * magic.sum())
        return y


class Slower(Sum):
    SECONDS = 0.3  # a vector

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        time.sleep(self.SECONDS * len(X))
        return super().predict(X)


class Hanging(Sum):
    """Never answers."""

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        time.sleep(10**6)
        return y


class Forking(Hanging):
    """And has a process of its own for that, which would go on for longer than any test."""

    def flaw(self, y: NDArray[np.float64], magic: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not os.fork():
            time.sleep(10**6)
        return super().flaw(y, magic)


def pickled(model: Sum, folder: Path) -> Path:
    path = folder / f"{type(model).__name__}.pkl"
    path.write_bytes(pickle.dumps(model))
    return path
