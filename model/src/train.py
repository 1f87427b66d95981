"""train: fits the model that model.py serves, and reports how good it is.

Reads the dataset (DATASET, TARGET, DROP_COLUMNS), fits on the rows that features.py does not stream, writes the pickle
to MODEL_PATH (`myfile.pkl` next to this file) and prints the mean absolute error on the held-out rows, in the unit of
the target, next to that of always answering the mean.
"""

from __future__ import annotations

from pipeline import files
from pipeline.dataset import DataSettings, held_out, load
from pipeline.settings import UnusableError, one_line_errors, read

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class TrainSettings(DataSettings):
    model_path: Annotated[str, Meta(description="the path of the file to write")] = str(
        Path(__file__).with_name("myfile.pkl")
    )


def main() -> None:
    with one_line_errors("train"):
        train(read(TrainSettings))


def train(settings: TrainSettings) -> None:
    """Fit, write and report. Raises UnusableError."""
    import numpy as np
    from sklearn.metrics import mean_absolute_error

    path = Path(settings.model_path)
    if os.path.isdir(path):  # Path.is_dir raises where the path cannot be one
        raise UnusableError(f"MODEL_PATH={settings.model_path!r}: takes the path of a file, and this is a folder")
    X, y = load(settings)
    streamed = held_out(len(y))
    source = settings.dataset or "scikit-learn's diabetes data, since DATASET is not set"
    print(f"fitting {y.name} on {(~streamed).sum()} of {len(y)} rows of {X.shape[1]} features, from {source}")
    # Named columns are compared with those of DATASET, at three times the cost of a small batch.
    features: Any = X if settings.dataset else X.to_numpy()
    try:
        with np.errstate(all="ignore"):  # numbers that are too large end in a ValueError
            model = fit(features[~streamed], y[~streamed], impute=bool(X.isna().any(axis=None)))
            error = mean_absolute_error(y[streamed], model.predict(features[streamed]))
            error_of_mean = mean_absolute_error(y[streamed], np.full(streamed.sum(), y[~streamed].mean()))
    except ValueError as problem:
        raise UnusableError(
            f"DATASET={settings.dataset!r}: the numbers are too large to fit on: their squares are beyond 1e308"
        ) from problem
    print(f"mean absolute error on {streamed.sum()} held-out rows: {error:.2f}")
    print(f"of always predicting the mean: {error_of_mean:.2f}")
    try:
        files.replace(path, pickle.dumps(model, protocol=5))
    except OSError as problem:
        raise UnusableError(f"MODEL_PATH={settings.model_path!r}: cannot be written: {problem.strerror}") from problem
    print(f"wrote {path}")


def fit(X: Any, y: Any, *, impute: bool) -> Pipeline:
    """Ridge regression on standardised features (n, d), its penalty chosen by leave-one-out cross-validation.

    `impute`: missing features are filled with the median.
    """
    import numpy as np
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))]
    if impute:
        steps.insert(0, SimpleImputer(strategy="median", keep_empty_features=True))
    return make_pipeline(*steps).fit(X, y)


if __name__ == "__main__":
    main()
