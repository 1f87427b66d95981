"""A model that takes its time, in a file of its own, so that it can be pickled."""

import time

import numpy as np
from numpy.typing import NDArray

SECONDS = 0.3  # for each vector


class SlowModel:
    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        time.sleep(SECONDS * len(X))
        return np.zeros(len(X))
