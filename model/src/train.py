"""train: fits the model that model.py serves, and says how good it is.

Reads DATASET (a CSV with a header; by default scikit-learn's diabetes data) with the label in TARGET (by default the
last column), fits on the rows that features.py does not stream, writes the pickle to MODEL_PATH (`myfile.pkl` beside
this file) and prints the mean absolute error on the held-out rows beside that of always answering the mean.
"""

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SERVICE = "train"
HELD_OUT = 4  # rows 0, 4, 8, ... are held out for features.py to stream; the others are fitted on


def fail(reason: str) -> NoReturn:
    """End the service: one line for the operator (without the password of a URL), exit code 2."""
    reason = re.sub(r"(//[^:@\s]*):[^\s']*@", r"\1:***@", " ".join(reason.split()))
    print(f"{SERVICE}: {reason}", file=sys.stderr)
    raise SystemExit(2)


def load(dataset: str, target: str) -> tuple[Any, Any]:
    """Features (n, d) and labels (n,) of a CSV, as DataFrame and Series; bad ones end the service.

    The default is scikit-learn's diabetes data: a row a patient, the features scaled, the label the progression of
    the disease after a year.

    The same text in features.py and train.py.
    """
    import pandas as pd

    if not dataset:
        from sklearn.datasets import load_diabetes

        frame = load_diabetes(as_frame=True).frame
    else:
        try:
            frame = pd.read_csv(dataset)
        except (OSError, ValueError) as error:
            fail(f"DATASET={dataset!r}: takes a readable CSV with a header; {error}")
    target = target or frame.columns[-1]
    if target not in frame.columns:
        fail(f"TARGET={target!r}: takes one of the columns {', '.join(frame.columns)}")
    if len(frame) < 2 or len(frame.columns) < 2:
        fail(f"DATASET={dataset!r}: takes two rows and two columns at least, not {len(frame)} and {len(frame.columns)}")
    for name in frame.columns:
        bad = ~np.isfinite(pd.to_numeric(frame[name], errors="coerce"))
        if bad.any():
            row = int(bad.argmax())
            value = frame[name][row]
            fail(f"DATASET={dataset!r}: takes numbers only; data row {row + 1} of column {name!r} has '{value}'")
    return frame.drop(columns=target).astype(float), frame[target].astype(float)


def fit(X: Any, y: Any) -> RegressorMixin:
    """Ridge regression on standardised features (n, d), its penalty chosen by leave-one-out cross-validation."""
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))).fit(X, y)


def main() -> None:
    dataset = os.environ.get("DATASET", "")
    X, y = load(dataset, os.environ.get("TARGET", ""))
    if not dataset:
        X = X.to_numpy()  # named columns are checked against those of DATASET, at three times the cost of a small batch
    held_out = np.arange(len(y)) % HELD_OUT == 0
    print(f"fitting on {(~held_out).sum()} rows of {X.shape[1]} features")
    model = fit(X[~held_out], y[~held_out])
    y_true, y_pred = y[held_out], model.predict(X[held_out])
    print(f"mean absolute error on {len(y_true)} held-out rows: {mean_absolute_error(y_true, y_pred):.2f}")
    print(f"of always answering the mean: {mean_absolute_error(y_true, np.full(len(y_true), y[~held_out].mean())):.2f}")
    path = Path(os.environ.get("MODEL_PATH") or Path(__file__).with_name("myfile.pkl"))
    try:
        path.with_suffix(".new").write_bytes(pickle.dumps(model, protocol=5))
        path.with_suffix(".new").replace(path)
    except OSError as error:
        fail(f"MODEL_PATH={str(path)!r}: cannot be written: {error.strerror}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
