"""Training: what is fitted on which rows, and what is said about it."""

import train
from harness import ROOT

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

Run = Callable[..., tuple[int, str, Any]]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run it like a person does: (exit code, what it prints, the model or None)."""

    def run(frame: pd.DataFrame | None = None, **env: object) -> tuple[int, str, Any]:
        path = tmp_path / "some.pkl"
        if frame is not None:
            frame.to_csv(tmp_path / "some.csv", index=False)
            env["DATASET"] = tmp_path / "some.csv"
        for name in ("DATASET", "TARGET", "DROP_COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"MODEL_PATH": path} | env).items():
            monkeypatch.setenv(name, str(value))
        try:
            train.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out + err, pickle.loads(path.read_bytes()) if path.exists() else None

    return run


def table(n: int = 80) -> pd.DataFrame:
    """An exact linear relation of two features."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"age": random.uniform(20, 80, n), "bmi": random.normal(25, 4, n)})
    return frame.assign(y=2 * frame["age"] - frame["bmi"] + 3)


def test_the_bundled_data_gives_the_committed_model(fit: Run) -> None:
    code, text, model = fit()
    assert code == 0
    assert "331 of 442 rows of 10 features, from scikit-learn's diabetes data, since DATASET is not set" in text
    assert "mean absolute error on 111 held-out rows: 49.56\nof always predicting the mean: 70.91\n" in text
    X, _ = load_diabetes(return_X_y=True)
    committed = pickle.loads((ROOT / "model/src/myfile.pkl").read_bytes())
    np.testing.assert_allclose(model.predict(X), committed.predict(X), rtol=1e-9)
    assert not hasattr(model, "feature_names_in_")


def test_a_table_of_ones_own_is_fitted_on_all_rows_but_the_streamed_ones(fit: Run, tmp_path: Path) -> None:
    frame = table()
    frame.loc[::4, "y"] = 1e6  # would spoil the fit
    code, text, model = fit(frame)
    assert code == 0
    assert f"fitting y on 60 of 80 rows of 2 features, from {tmp_path / 'some.csv'}" in text
    assert f"wrote {tmp_path / 'some.pkl'}" in text
    assert list(model.feature_names_in_) == ["age", "bmi"]
    assert model.predict(frame[["age", "bmi"]])[1] == pytest.approx(frame["y"][1], abs=0.1)


@pytest.mark.parametrize("column", ["age", "bmi"])
@pytest.mark.parametrize("rows", [slice(0, None, 4), slice(1, None, 4), slice(None)])
def test_missing_features_are_filled(fit: Run, column: str, rows: slice) -> None:
    """Missing where rows are streamed, where they are fitted on, and everywhere."""
    frame = table()
    frame.loc[frame.index[rows], column] = np.nan
    code, text, model = fit(frame)
    assert code == 0, text
    assert np.isfinite(model.predict(frame[["age", "bmi"]])).all()


def test_target_and_columns_to_leave_out(fit: Run) -> None:
    frame = table().assign(id=[f"P{i}" for i in range(80)])
    code, text, model = fit(frame, TARGET="age", DROP_COLUMNS="id")
    assert code == 0
    assert "fitting age on 60 of 80 rows of 2 features" in text
    assert list(model.feature_names_in_) == ["bmi", "y"]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_few_rows_are_enough(fit: Run, n: int) -> None:
    code, text, model = fit(table(n))
    assert code == 0, text
    assert np.isfinite(model.predict(table(n)[["age", "bmi"]])).all()


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"DATASET": "/nowhere.csv"}, "DATASET='/nowhere.csv': there is no such file"),
        ({"TARGET": "age, years"}, "TARGET='age, years': there is no column"),
        ({"DROP_COLUMNS": "nothing"}, "DROP_COLUMNS='nothing': there is no column"),
        ({"MODEL_PATH": "/nowhere/some.pkl"}, "MODEL_PATH='/nowhere/some.pkl': cannot be written: No such file"),
        ({"MODEL_PATH": "/"}, "MODEL_PATH='/': takes the path of a file, and this is a folder"),
        ({"MODEL_PATH": "."}, "MODEL_PATH='.': takes the path of a file, and this is a folder"),
        ({"MODEL_PATH": "/tmp/" + "x" * 300}, f"MODEL_PATH='/tmp/{'x' * 300}': cannot be written: File name too long"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL='LOUD': takes DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(fit: Run, env: dict[str, str], what: str) -> None:
    code, text, _ = fit(**env)
    assert code == 2
    assert text.splitlines()[-1].startswith(f"train: {what}")


@pytest.mark.parametrize(("column", "scale"), [("age", 1e300), ("bmi", 1e200), ("age", 1e307), ("y", 1e307)])
def test_numbers_whose_squares_are_too_large(
    fit: Run, recwarn: pytest.WarningsRecorder, column: str, scale: float
) -> None:
    frame = table()
    frame[column] *= scale / 100
    code, text, model = fit(frame)
    assert (code, model) == (2, None)
    assert "the numbers are too large to fit on" in text
    assert len(text.splitlines()) == 2
    assert not recwarn.list


def test_a_model_that_cannot_be_written_leaves_the_old_one(fit: Run, tmp_path: Path) -> None:
    _, _, old = fit(table())
    code, _, kept = fit(table().assign(y="text"))
    assert code == 2
    np.testing.assert_array_equal(old.predict(table()[["age", "bmi"]]), kept.predict(table()[["age", "bmi"]]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.csv", "some.pkl"]
