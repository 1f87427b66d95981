"""Models that people bring: loaded from whatever wrote them, checked, and asked; or a line that leads to the cure."""

from faults.faulty_models import SumOfThree, pickled
from harness import ROOT
from pipeline.dataset import DataSettings
from pipeline.regressor import BadModelError, Regressor, load_model
from pipeline.settings import UnusableError

import bz2
import gzip
import hashlib
import io
import lzma
import pickle
import subprocess
import sys
import zlib
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

random = np.random.default_rng(0)
X = random.normal(size=(40, 3))
y = X @ [1.0, 2.0, 3.0] + 4
NAMED = pd.DataFrame(X, columns=["age", "bmi", "bp"])
VECTORS: list[list[float | None]] = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]


class Own:
    """A model with a rule instead of a fit: the first feature decides what it does."""

    n_features_in_ = 1

    def predict(self, X: NDArray[np.float64]) -> Any:
        for x in X[:, 0]:
            if x in (errors := ERRORS):
                raise errors[x]
        return np.where(X[:, 0] == 0, np.nan, X[:, 0] * 2)


ERRORS: dict[float, BaseException] = {
    -1.0: KeyError("age"),
    -2.0: ArithmeticError("below zero"),
    -3.0: ValueError(),
    -4.0: MemoryError(),
    -5.0: RuntimeError("can't start new thread"),
    -6.0: BrokenProcessPool("a worker died"),
    -7.0: OSError(24, "Too many open files"),
}


class Answers:
    """A model that answers what it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, X: Any) -> Any:
        return self.answer(len(X))


def saved(folder: Path, model: Any) -> str:
    """The path of the file with these bytes, or with this model."""
    path = folder / "some.pkl"
    path.write_bytes(model if isinstance(model, bytes) else cloudpickle.dumps(model))
    return str(path)


def regressor(folder: Path, model: Any, **data: str) -> Regressor:
    return Regressor(saved(folder, model), None, DataSettings(**data))


def rejection(folder: Path, model: Any, **data: str) -> str:
    """The line that a person reads."""
    with pytest.raises(BadModelError) as caught:
        regressor(folder, model, **data)
    text = str(caught.value)
    assert text.startswith(("MODEL_PATH='", "DATASET='"))
    assert "train.py" not in text
    assert "\n" not in text
    return text


def dumped(model: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "save",
    [
        pickle.dumps,
        lambda model: pickle.dumps(model, 0),
        lambda model: pickle.dumps(model, 2),
        cloudpickle.dumps,
        dumped,
        lambda model: dumped(model, compress=3),
        lambda model: dumped(model, compress=("gzip", 1)),
        lambda model: dumped(model, compress=("bz2", 1)),
        lambda model: dumped(model, compress=("xz", 1)),
        lambda model: gzip.compress(pickle.dumps(model)),
    ],
)
@pytest.mark.parametrize("model", [LinearRegression(), RandomForestRegressor(3), KNeighborsRegressor()])
def test_one_loader_reads_them_all(tmp_path: Path, save: Any, model: Any) -> None:
    model.fit(X, y)
    answers = regressor(tmp_path, save(model)).predict(X.tolist())
    np.testing.assert_allclose(np.array(answers, float), model.predict(X))


def test_the_committed_model_loads_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    X, y = load_diabetes(return_X_y=True)
    committed = Regressor(str(ROOT / "model/src/myfile.pkl"), None, DataSettings())
    answers = np.array(committed.predict(X[::4].tolist()), float)
    assert not recwarn.list
    assert np.abs(answers - y[::4]).mean() == pytest.approx(49.56, abs=0.01)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"PK\x03\x04\x14\0\0\0", "a zip archive, as .xlsx, .npz, .keras and .pt"),
        (b"\x89HDF\r\n\x1a\n\0", "HDF5 file, as Keras"),
        (b"\x08\x0a\x12\x08skl2onnx\x1a\x061.18.0", "an ONNX model"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.4.0", "an ONNX model"),
        (b'\x40\0\0\0\0\0\0\0{"__metadata__":{}', "a safetensors file"),
        (b'{"learner":{"attributes":{}', "JSON"),
        (b"{L\0\0\0\0\0\0\0\x07learner", "an XGBoost model in its own format"),
        (b"tree\nversion=v4\nnum_class=1\n", "a LightGBM model in its own format"),
        (b"CBM1\x10\0", "a CatBoost model in its own format"),
        (b"\x93NUMPY\x01\0", "a numpy array"),
        (b"a,b,y\n1,2,3\n", "does not look like a pickle, it begins with b'a,b,y\\n1,2,3\\n'"),
        (gzip.compress(b"a,b,y\n1,2,3\n", mtime=0), "does not look like a pickle, it begins with b'a,b,y"),
        (b"import pickle\n", "does not look like a pickle, it begins with b'import"),
        (pickle.dumps(Own())[:-1], "ends too early"),
        (dumped(Ridge().fit(X, y))[:300], "ends too early"),
        (zlib.compress(dumped(Ridge().fit(X, y)))[:200], "ends too early"),
        (bz2.compress(random.bytes(20_000))[:10_000], "cannot be loaded: "),
        (lzma.compress(pickle.dumps(Own()))[:-20], "cannot be loaded: "),
        (b"\x80\x04" + random.bytes(50) + b".", "cannot be loaded: "),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in rejection(tmp_path, content)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/nowhere.pkl", "there is no such file"),
        ("nowhere.pkl", f"there is no such file in {Path.cwd()}"),
        ("/", "this is a folder"),
        ("/dev/zero", "this is a device or a pipe"),
        ("n" * 300, "File name too long"),
    ],
)
def test_what_is_no_file_is_named(path: str, what: str) -> None:
    with pytest.raises(BadModelError, match=f"MODEL_PATH='{path}': .*{what}"):
        load_model(path)


def test_nothing_is_run_where_the_digest_differs(tmp_path: Path) -> None:
    content = b"cos\nmkdir\n(S'%b'\ntR." % str(tmp_path / "pwned").encode()
    path, digest = saved(tmp_path, content), hashlib.sha256(content).hexdigest()
    for other in ("0" * 64, digest[:-1] + ("0" if digest[-1] != "0" else "1")):
        with pytest.raises(BadModelError, match=f"MODEL_SHA256='{other}': .*{digest}; it is not loaded"):
            load_model(path, other)
        assert not (tmp_path / "pwned").exists()
    load_model(path, digest.upper())
    assert (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "model",
    [
        Ridge().fit(X, y),
        make_pipeline(StandardScaler(), SVR()).fit(X, y),
        GridSearchCV(Ridge(), {"alpha": [1, 2]}).fit(X, y),
        HistGradientBoostingRegressor().fit(X, y),
    ],
)
@pytest.mark.parametrize("compress", [0, 3])
def test_the_version_that_wrote_it_and_the_one_that_is_here_are_named(
    tmp_path: Path, model: Any, compress: int
) -> None:
    written = dumped(model)
    here = sklearn.__version__.encode()
    assert here in written
    old = written.replace(here, b"1.2.2")
    content = zlib.compress(old) if compress else old
    text = rejection(tmp_path, content)
    assert f"scikit-learn 1.2.2 wrote it, and {sklearn.__version__} is installed" in text
    assert "scikit-learn==1.2.2 in features/requirements.in" in text


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_the_version_is_named_where_the_error_is_another(tmp_path: Path, protocol: int) -> None:
    """Such as a module that has been renamed since."""
    content = pickle.dumps(Ridge().fit(X, y), protocol)
    old = content.replace(b"sklearn.linear_model._ridge", b"sklearn.linear_model._fudge")
    old = old.replace(sklearn.__version__.encode(), b"1.2.2")
    assert "scikit-learn 1.2.2 wrote it" in rejection(tmp_path, old)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"cxgboost.sklearn\nXGBRegressor\n.", "it needs xgboost, which is not installed"),
        (b"clightgbm.sklearn\nLGBMRegressor\n.", "it needs lightgbm, which is not installed"),
        (b"\x80\x04\x8c\x08my_steps\x8c\x04Step\x93.", "it needs my_steps, which is not installed"),
        (b"cnumpy._corer.multiarray\n_reconstruct\n.", f"which numpy {np.__version__} does not have"),
        (b"csklearn.ensemble._gb_losses\nLeastSquaresError\n.", f"which sklearn {sklearn.__version__} does not have"),
    ],
)
def test_the_package_that_is_missing_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    text = rejection(tmp_path, content)
    assert what in text
    if "not installed" in what:
        assert "model/requirements.in" in text
        assert "cloudpickle" in text


CLASSES = """
class Mine:
    n_features_in_ = 1
    def predict(self, X):
        return 2 * X[:, 0]
class Regressor(Mine):  # has the name of one of ours
    pass
"""


@pytest.mark.parametrize("library", ["pickle", "joblib", "cloudpickle"])
@pytest.mark.parametrize("name", ["Mine", "Regressor"])
def test_a_class_of_the_users_script(tmp_path: Path, library: str, name: str) -> None:
    path = tmp_path / "some.pkl"
    script = f"import {library}, sys\n{CLASSES}\n{library}.dump({name}(), open(sys.argv[1], 'wb'))"
    subprocess.run([sys.executable, "-c", script, path], check=True)
    if library == "cloudpickle":
        assert regressor(tmp_path, path.read_bytes()).predict([[3.0]]) == [6.0]
    else:
        text = rejection(tmp_path, path.read_bytes())
        assert f"{name} was defined in your own program, in __main__" in text
        assert "cloudpickle.dump" in text


@pytest.mark.parametrize("module", ["model", "pipeline", "my_models"])
def test_a_class_of_the_users_module(tmp_path: Path, module: str) -> None:
    """Whatever it is called: a class of ours is never taken for it."""
    (tmp_path / f"{module}.py").write_text(CLASSES)
    for by_value in False, True:
        script = f"import {module}, cloudpickle, sys\n"
        script += f"cloudpickle.register_pickle_by_value({module})\n" if by_value else ""
        script += f"cloudpickle.dump({module}.Regressor(), open('some.pkl', 'wb'))"
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
        content = (tmp_path / "some.pkl").read_bytes()
        if by_value:
            assert regressor(tmp_path, content).predict([[3.0]]) == [6.0]
        else:
            assert f"register_pickle_by_value({module})" in rejection(tmp_path, content)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ({"a": 1}, "but it holds an object of type dict"),
        ([Ridge().fit(X, y)], "but it holds an object of type list"),
        (np.zeros(3), "but it holds an object of type ndarray"),
        (3, "but it holds an object of type int"),
        (StandardScaler().fit(X), "but it holds an object of type StandardScaler"),
        (Ridge, "but it holds the class Ridge itself"),
        (Ridge(), "this Ridge is not fitted"),
        (RandomForestRegressor(), "this RandomForestRegressor is not fitted"),
        (HistGradientBoostingRegressor(), "is not fitted"),
        (make_pipeline(StandardScaler(), Ridge()), "this Pipeline is not fitted"),
        (GridSearchCV(Ridge(), {}), "this GridSearchCV is not fitted"),
        (Ridge().fit(X, X[:, :2]), "answers 2 numbers for one vector: fit it on one target"),
        (
            DecisionTreeClassifier().fit(X, np.column_stack([np.arange(len(X)) % 2, np.arange(len(X)) % 3])),
            "answers 2 numbers for one vector: fit it on one target",
        ),
        (DecisionTreeRegressor().fit(X, X), "answers 3 numbers"),
        (make_pipeline(StandardScaler(), LinearRegression()).fit(NAMED, X[:, :2]), "answers 2 numbers"),
        (DummyClassifier().fit(X, ["yes", "no"] * 20), "answers no, yes, not numbers: name the one"),
        (
            make_pipeline(LogisticRegression()).fit(X, ["b", "a"] * 20),
            "not numbers: name the one whose probability to predict in POSITIVE_CLASS",
        ),
        (
            OneVsRestClassifier(LogisticRegression()).fit(X, np.column_stack([X[:, 0] > 0, X[:, 1] > 0])),
            "answers 2 numbers for one vector: fit it on one target",  # its two probabilities are of two labels
        ),
        (Answers(lambda n: csr_matrix(np.ones((n, 1)))), "answers an object of type "),
        (Answers(lambda n: dict.fromkeys(range(n))), "answers an object of type dict, not a number"),
        (Answers(lambda n: np.full(n, 1 + 2j)), "answers an object of type complex128, not a number"),
        (Answers(lambda n: np.full(n, "2026-01-01", "datetime64[s]")), "answers an object of type datetime64"),
        (Answers(lambda n: None), "answers an object of type NoneType, not a number"),
        (Answers(lambda n: ["high"] * n), "answers text, such as 'high', not numbers"),
        (Answers(lambda n: np.array(["high"] * n, object)), "answers text, such as 'high'"),
        (Answers(lambda n: np.zeros((n, 2))), "answers 2 numbers"),
    ],
)
def test_a_model_that_can_never_answer_is_rejected_at_the_start(tmp_path: Path, model: Any, what: str) -> None:
    assert what in rejection(tmp_path, model)


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: [1.5] * n,
        lambda n: np.full((n, 1), 1.5, np.float32),
        lambda n: pd.Series([1.5] * n),
        lambda n: pd.DataFrame({"y": [1.5] * n}),
    ],
)
def test_answers_of_any_form_are_numbers(tmp_path: Path, answer: Any) -> None:
    assert regressor(tmp_path, Answers(answer)).predict([[1.0], [2.0]]) == [1.5, 1.5]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([0, 1], lambda p: p),
        ([False, True], lambda p: p),
        ([0.0, 1.0], lambda p: p),
        ([1, 2], lambda p: 1 + p),  # the label expected of the two, in the unit of the label
        ([-1, 1], lambda p: 2 * p - 1),
    ],
)
def test_of_two_numeric_classes_the_expected_label_is_predicted(tmp_path: Path, classes: Any, expected: Any) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, classes * 20)
    p = model.predict_proba(X)[:, 1]
    assert len({*p.tolist()}) > 10
    np.testing.assert_allclose(np.array(regressor(tmp_path, model).predict(X.tolist()), float), expected(p), rtol=1e-9)


@pytest.mark.parametrize(
    ("classes", "positive", "column"),
    [
        (["malignant", "benign"], "malignant", 1),
        (["malignant", "benign"], "benign", 0),
        ([0, 1], "0", 0),
        ([0.0, 1.0], "0", 0),
        ([1, 2, 3, 4], "3", 2),
        (["a, b", "c"], "a, b", 0),
    ],
)
def test_positive_class_is_the_class_whose_probability_is_predicted(
    tmp_path: Path, classes: list[Any], positive: str, column: int
) -> None:
    model = LogisticRegression().fit(X, classes * (40 // len(classes)))
    asked = Regressor(saved(tmp_path, model), None, DataSettings(), positive)
    np.testing.assert_allclose(np.array(asked.predict(X.tolist()), float), model.predict_proba(X)[:, column])


def test_text_classes_without_probabilities_are_rejected_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match="answers a, b, not numbers, and gives no probabilities: fit it"):
        Regressor(saved(tmp_path, LinearSVC().fit(X, ["b", "a"] * 20)), None, DataSettings())


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (LogisticRegression().fit(X, ["b", "a"] * 20), "POSITIVE_CLASS='yes': takes one of the model's classes: a, b"),
        (Ridge().fit(X, range(40)), "POSITIVE_CLASS='yes': the model gives no probabilities of classes"),
        (LinearSVC().fit(X, [0, 1] * 20), "POSITIVE_CLASS='yes': the model gives no probabilities of classes"),
        (DecisionTreeClassifier().fit(X, np.array([[0, 1]] * 40)), "gives no probabilities of classes"),
        (LogisticRegression(), "POSITIVE_CLASS='yes': the model gives no probabilities of classes"),
    ],
)
def test_a_positive_class_that_cannot_be_predicted_is_rejected(tmp_path: Path, model: Any, what: str) -> None:
    with pytest.raises(BadModelError) as caught:
        Regressor(saved(tmp_path, model), None, DataSettings(), "yes")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression().fit(X, [0, 1, 2, 3] * 10),  # no class to choose
        LinearSVC().fit(X, [0, 1] * 20),  # no probabilities
        DummyClassifier().fit(X, [1] * 40),  # one class
    ],
)
def test_other_numeric_classes_are_predicted_themselves(tmp_path: Path, model: Any) -> None:
    assert regressor(tmp_path, model).predict(X.tolist()) == model.predict(X).astype(float).tolist()


@pytest.mark.parametrize(
    ("named", "header", "data", "what"),
    [
        (True, "age,bmi,bp,y", {}, ""),
        (True, "y,age,bmi,bp", {"target": "y"}, ""),
        (True, "id; age ;bmi;bp;y", {"drop_columns": "id"}, ""),
        (True, "age,bmi,y", {}, "fitted on the columns age, bmi, bp, in this order, not on age, bmi"),
        (True, "bmi,age,bp,y", {}, "fitted on the columns age, bmi, bp, in this order, not on bmi, age, bp"),
        (True, "age,bmi,bp,y", {"target": "age"}, "not on bmi, bp, y"),
        (False, "a,b,c,y", {}, ""),
        (False, "a,b,y", {}, "fitted on 3 features, not on 2: a, b"),
        (False, "a,b,c,d,y", {"drop_columns": "a,b"}, "fitted on 3 features, not on 2: c, d"),
        (False, "a,b,c,y", {"target": "z"}, "TARGET='z': there is no column z"),
        (False, "1,2,3,4", {}, "the first line looks like data"),
    ],
)
def test_the_columns_of_the_dataset_must_be_those_of_the_model(
    tmp_path: Path, named: bool, header: str, data: dict[str, str], what: str
) -> None:
    path = tmp_path / "some.csv"
    path.write_text(header + "\n")
    fitted = LinearRegression().fit(NAMED if named else X, y)
    if not what:
        answers = regressor(tmp_path, fitted, dataset=str(path), **data).predict(VECTORS)
        np.testing.assert_allclose(np.array(answers, float), [18, 4])
    else:
        with pytest.raises(UnusableError, match=what):
            regressor(tmp_path, fitted, dataset=str(path), **data)


class CatBoostLike(Answers):
    """What CatBoost's regressors say of themselves after they were pickled."""

    n_features_in_ = 0
    classes_ = np.array([], object)


class Unwilling(Answers):
    classes_ = None

    @property
    def n_features_in_(self) -> int:
        raise RuntimeError("not known")


class Listing(Answers):
    """A classifier of somebody's own."""

    classes_: Any = (0, 1)

    def predict_proba(self, X: Any) -> Any:
        return [[0.25, 0.75]] * len(X)


class NoneForZeros(Answers):
    def predict(self, X: Any) -> Any:
        return [0.5 if row.any() else None for row in X]


class ListingTexts(Listing):
    classes_ = [" no", " yes"]  # noqa: RUF012


@pytest.mark.parametrize(
    ("model", "positive_class", "answer"),
    [
        (CatBoostLike(lambda n: [0.5] * n), "", 0.5),
        (Unwilling(lambda n: [0.5] * n), "", 0.5),
        (Listing(lambda n: [1] * n), "", 0.75),
        (ListingTexts(lambda n: ["yes"] * n), "yes", 0.75),
        (Answers(lambda n: np.ma.array([0.5] * n, mask=False)), "", 0.5),
        (NoneForZeros(lambda n: [0.5] * n), "", 0.5),
    ],
)
def test_classes_of_other_packages_and_of_ones_own_are_asked(
    tmp_path: Path, model: Any, positive_class: str, answer: float
) -> None:
    ready = Regressor(saved(tmp_path, model), None, DataSettings(), positive_class)
    assert ready.predict([[1.0, 2.0]]) == [answer]


def test_a_masked_answer_is_none(tmp_path: Path) -> None:
    model = regressor(tmp_path, Answers(lambda n: np.ma.array([0.5] * n, mask=[i == 1 for i in range(n)])))
    assert model.predict([[1.0], [2.0]]) == [0.5, "the model failed: it answered nan"]


@pytest.mark.parametrize(("header", "what"), [("a,b,c,y", ""), ("a,b,y", "fitted on the columns Column_0, Column_1")])
def test_names_that_lightgbm_gives_to_the_columns_of_an_array_are_none(tmp_path: Path, header: str, what: str) -> None:
    (tmp_path / "some.csv").write_text(header + "\n")
    fitted = LinearRegression().fit(NAMED.set_axis(["Column_0", "Column_1", "Column_2"], axis=1), y)
    with pytest.raises(UnusableError, match=what) if what else nullcontext():
        answers = regressor(tmp_path, fitted, dataset=str(tmp_path / "some.csv")).predict(VECTORS)
        np.testing.assert_allclose(np.array(answers, float), [18, 4])


def test_a_batch_is_one_call(tmp_path: Path) -> None:
    calls: list[int] = []

    def answer(n: int) -> list[float]:
        calls.append(n)
        return [0.5] * n

    model = regressor(tmp_path, Answers(lambda n: [0.5] * n))
    model.model.answer = answer
    assert model.predict([[float(i)] for i in range(500)]) == [0.5] * 500
    assert calls == [500]
    assert model.predict([]) == []
    assert calls == [500]  # the model is not asked


def test_each_failing_vector_gets_its_own_reason(tmp_path: Path) -> None:
    answers = regressor(tmp_path, Own()).predict([[1.0], [-1.0], [2.0], [0.0], [-2.0], [3.0, 4.0], [-3.0], [4.0]])
    assert answers == [
        2.0,
        "the model failed: KeyError: 'age'",
        4.0,
        "the model failed: it answered nan",
        "the model failed: ArithmeticError: below zero",
        "expected 1 features, got 2",
        "the model failed: ValueError",
        8.0,
    ]


def test_vectors_of_any_length_where_the_model_knows_of_none(tmp_path: Path) -> None:
    model = regressor(tmp_path, Answers(lambda n: [0.5] * n))
    assert model.predict([[1.0], [1.0, 2.0], [], [1.0, 2.0]]) == [0.5] * 4


@pytest.mark.parametrize("x", [-4.0, -5.0, -6.0, -7.0])
def test_what_is_no_vectors_fault_is_not_blamed_on_it(tmp_path: Path, x: float) -> None:
    model = regressor(tmp_path, Own())
    for vectors in ([[x]], [[1.0], [x], [2.0]], [[-1.0], [x]]):
        with pytest.raises(type(ERRORS[x])):
            model.predict(vectors)


@pytest.mark.parametrize(
    ("fitted", "feature"),
    [
        (LinearRegression().fit(X, y), "feature 2 is null (ValueError: Input X contains NaN.)"),
        (SVR().fit(NAMED, y), "feature 2 (bmi) is null (ValueError"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()).fit(X, y), "feature 2 is null (ValueError"),
        (Answers(lambda n: np.full(n, np.nan)), "feature 2 is null (it answered nan)"),
    ],
)
def test_a_model_that_takes_no_missing_values(tmp_path: Path, fitted: Any, feature: str) -> None:
    (reason,) = regressor(tmp_path, fitted).predict([[1.0, None, 3.0]])
    assert str(reason).startswith("the model does not take missing values: " + feature)
    assert "\n" not in str(reason)


@pytest.mark.parametrize(
    "fitted",
    [
        HistGradientBoostingRegressor().fit(X, y),
        make_pipeline(SimpleImputer(), Ridge()).fit(NAMED, y),
        DecisionTreeRegressor().fit(np.where(X > 1, np.nan, X), y),
    ],
)
def test_a_model_that_takes_missing_values(tmp_path: Path, fitted: Any) -> None:
    answers = regressor(tmp_path, fitted).predict([[1.0, None, 3.0], [None, None, None]])
    frame = pd.DataFrame([[1, np.nan, 3], [np.nan] * 3], columns=NAMED.columns)
    expected = fitted.predict(frame if hasattr(fitted, "feature_names_in_") else frame.to_numpy())
    np.testing.assert_allclose(np.array(answers, float), expected)


def test_zeros_need_not_be_taken(tmp_path: Path) -> None:
    """What is tried at the start is no vector of the user's."""
    frame = pd.DataFrame({"sex": [1.0, 2.0] * 20, "age": X[:, 0]})
    fitted = make_pipeline(make_column_transformer((OneHotEncoder(), ["sex"])), Ridge()).fit(frame, y)
    good, bad = regressor(tmp_path, fitted).predict([[1.0, 5.0], [0.0, 5.0]])
    assert isinstance(good, float)
    assert str(bad).startswith("the model failed: ValueError: Found unknown categories")


def test_importing_it_loads_neither_numpy_nor_scikit_learn() -> None:
    code = "import pipeline.regressor, sys; print(sorted({'numpy', 'pandas', 'sklearn', 'joblib'} & set(sys.modules)))"
    folders = {"PYTHONPATH": f"{ROOT}:{ROOT / 'model/src'}"}
    process = subprocess.run([sys.executable, "-c", code], env=folders, capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"


def test_a_model_of_another_library_does_not_wait_for_scikit_learn(tmp_path: Path) -> None:
    path = pickled(SumOfThree(), tmp_path)
    program = f"""
import sys
from pipeline.dataset import DataSettings
from pipeline.regressor import Regressor

print(Regressor({str(path)!r}, None, DataSettings()).predict([[1, 2, 3]]), "sklearn" in sys.modules)
"""
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    done = subprocess.run([sys.executable, "-c", program], env=paths, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[6.0] False\n", "")
