"""The model: read from a file, checked, asked for predictions."""

from __future__ import annotations

from pipeline import files
from pipeline.dataset import DataSettings, listed, read_columns
from pipeline.settings import UnusableError

import bz2
import hashlib
import io
import lzma
import math
import re
import sys
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

if TYPE_CHECKING:  # loading them takes a second
    import numpy as np
    from numpy.typing import NDArray

Vectors = Sequence[Sequence[float | None]]  # n of d features, None where one is missing

OWN_MODULES = ("__main__", "model", "train", "pipeline")  # a class of the user is not looked for in these
SKLEARN_VERSION = re.compile(rb"_sklearn_version.{1,12}?(\d+\.\d+(?:\.\d+)*(?:\.?(?:rc|dev|post)\d+)?)", re.DOTALL)


class BadModelError(UnusableError):
    """The model cannot be used; the text explains why and what to do."""


def load_model(path: str, sha256: str | None = None, file: str = "") -> tuple[Any, str]:
    """What joblib, pickle or cloudpickle have written, compressed or not, and its SHA-256. Raises BadModelError.

    `sha256`: the digest that the file must have; otherwise none of its code runs. `file`: is read instead of `path`, if
    that may have been replaced.
    """
    given, file = f"MODEL_PATH={path!r}", file or path
    try:
        if reason := files.not_a_file(Path(file)):
            raise BadModelError(f"{given}: {reason}")
        content = Path(file).read_bytes()
    except OSError as error:
        raise BadModelError(f"{given}: cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256.lower():
        raise BadModelError(f"MODEL_SHA256={sha256!r}: {path} has {digest}; it is not loaded")
    if kind := files.recognize(content[:300]):
        raise BadModelError(f"{given}: takes a model saved by joblib, pickle or cloudpickle, but the file is {kind}")
    try:
        return _unpickle(content), digest
    except BadModelError as error:
        raise BadModelError(f"{given}: cannot be loaded: {error}") from error
    except Exception as error:  # a broken pickle raises almost anything
        raise BadModelError(f"{given}: cannot be loaded: {_cause(content, error)}") from error


def _unpickle(content: bytes) -> Any:
    import joblib

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        """Reject a class of the user's program, before one of ours with the same name is taken for it."""
        if loading and event == "pickle.find_class":
            module, name = arguments
            if module.partition(".")[0] in OWN_MODULES:
                raise BadModelError(f"{name} was defined in your own program, in {module}: {_by_value(module)}")

    loading = True
    sys.addaudithook(check)  # joblib offers no other place for it
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Trying to unpickle estimator")  # scikit-learn's, of another version
            return joblib.load(io.BytesIO(content))
    finally:
        loading = False


def _by_value(module: str) -> str:
    """How to save a model with a class of the user's own program."""
    first = "" if module == "__main__" else f"call cloudpickle.register_pickle_by_value({module}), then "
    return f"{first}save the model with cloudpickle.dump, which puts the class into the file"


def _cause(content: bytes, error: Any) -> str:
    """Why a model could not be unpickled, and what to do, as far as the file and the error show it."""
    content, here = _decompress(content), metadata.version("scikit-learn")
    package = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    wrote = SKLEARN_VERSION.search(content)
    if package.isidentifier() and package not in sys.modules:
        return (
            f"it needs {error.name}, which is not installed: add it to model/requirements.in and run "
            f"`make lock`, or, if it is a file of your own, {_by_value(error.name)}"
        )
    if wrote and (version := wrote[1].decode()) != here:
        return (
            f"scikit-learn {version} wrote it, and {here} is installed: put scikit-learn=={version} in "
            f"features/requirements.in and run `make lock`, or fit and save the model under {here}"
        )
    if package in sys.modules:
        version = getattr(sys.modules[package], "__version__", "as installed")
        return f"it needs {error.name}, which {package} {version} does not have: install the version that wrote it"
    if not content.startswith(b"\x80"):  # as all pickles do since Python 3
        return f"it does not look like a pickle, it begins with {content[:20]!r}"
    if isinstance(error, EOFError) or not content.endswith(b"."):
        return "it ends too early: was it copied completely?"
    return describe(error)


def _decompress(content: bytes) -> bytes:
    """The decompressed content, as far as it is complete."""
    for decompressor in (zlib.decompressobj(47), bz2.BZ2Decompressor(), lzma.LZMADecompressor()):  # 47: zlib or gzip
        with suppress(Exception):
            return decompressor.decompress(content) or content
    return content


def describe(error: Exception) -> str:
    """The type and the text of an exception: a KeyError's text is just the key."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _without_blanks(name: str) -> str:
    """A column's name to compare: LightGBM writes underscores for blanks."""
    return "_".join(name.split())


class Regressor:
    """A fitted model that answers a vector of d features with one number. Raises BadModelError.

    A classifier answers with the probability of the class `positive_class`. Without that, one of two numeric classes
    answers with the expected label, which is the probability of class 1 where the classes are 0 and 1.
    """

    def __init__(
        self, path: str, sha256: str | None, data: DataSettings, positive_class: str = "", file: str = ""
    ) -> None:
        self.model, self.sha256 = load_model(path, sha256, file)
        kind = type(self.model).__name__
        if isinstance(self.model, type) or not callable(getattr(self.model, "predict", None)):
            what = (
                f"the class {self.model.__name__} itself"
                if isinstance(self.model, type)
                else f"an object of type {kind}"
            )
            raise BadModelError(
                f"MODEL_PATH={path!r}: takes a fitted model, which has a method predict, but it holds {what}"
            )
        self.n_features: int | None = self._attribute("n_features_in_") or None  # CatBoost's may be 0
        self.names: Any = self._attribute("feature_names_in_")  # where it was fitted on named columns
        self.labels = self._class_labels(positive_class)
        if reason := self._try_out():
            raise BadModelError(f"MODEL_PATH={path!r}: this {kind} {reason}")
        if data.dataset:
            self._check_columns(data)

    def _attribute(self, name: str) -> Any:
        """An attribute of the model; None where it has none, or fails to say."""
        with suppress(Exception):
            return getattr(self.model, name, None)
        return None

    def _classes(self) -> Any:
        """The array of a classifier's classes, or a list of arrays, one for each target; None for a regressor."""
        import numpy as np

        classes = self._attribute("classes_")
        if isinstance(classes, list) and any(isinstance(each, np.ndarray) for each in classes):
            return classes
        return None if classes is None or not np.size(classes) else np.asarray(classes)  # CatBoost's regressors: empty

    def _class_labels(self, positive_class: str) -> NDArray[np.float64] | None:
        """The number that each class of a classifier counts as; None where the model is asked for its own answers."""
        import numpy as np

        classes = self._classes()
        usable = isinstance(classes, np.ndarray) and classes.ndim == 1 and hasattr(self.model, "predict_proba")
        if positive_class:
            if not usable:
                raise BadModelError(f"POSITIVE_CLASS={positive_class!r}: the model gives no probabilities of classes")
            names = [str(name).strip() for name in classes]  # as a setting is
            positive = np.array([name in (positive_class, f"{positive_class}.0") for name in names])
            if not positive.any():
                raise BadModelError(
                    f"POSITIVE_CLASS={positive_class!r}: takes one of the model's classes: {listed(names)}"
                )
            return positive.astype(float)
        return classes.astype(float) if usable and len(classes) == 2 and classes.dtype.kind in "biuf" else None

    def _try_out(self) -> str | None:
        """Ask for one prediction, of zeros: the reason why the model can never answer, if there is one."""
        import numpy as np

        classes = self._classes()
        if isinstance(classes, list):  # one array of classes for each target
            return f"answers {len(classes)} numbers for one vector: fit it on one target"
        if self.labels is None and classes is not None and classes.dtype.kind not in "biuf":
            answers = f"answers {listed([str(name) for name in classes])}, not numbers"
            if not hasattr(self.model, "predict_proba"):
                return f"{answers}, and gives no probabilities: fit it on 0 and 1, or with CalibratedClassifierCV"
            return f"{answers}: name the one whose probability to predict in POSITIVE_CLASS"
        try:
            if type(self.model).__module__.startswith("sklearn."):
                from sklearn.utils.validation import check_is_fitted

                check_is_fitted(self.model)
            zeros = [[0.0] * (self.n_features or 1)]
            y = self._ask(zeros)
            outputs = np.size(y if self.labels is None else self.model.predict(self._table(zeros)))
        except Exception as error:
            if "NotFittedError" in [kind.__name__ for kind in type(error).__mro__]:  # importing it takes a second
                return "is not fitted: call fit before it is saved"
            return None  # a model may reject a vector of zeros
        if y.dtype.kind in "US" or (y.dtype == object and any(isinstance(value, str) for value in y.flat)):
            return f"answers text, such as {str(y.flat[0])!r}, not numbers"
        if outputs != 1:  # of a classifier with several labels, the probabilities are not those of classes
            return f"answers {outputs} numbers for one vector: fit it on one target"
        answer = y.flat[0]
        if y.dtype.kind not in "biufO" or not (isinstance(answer, SupportsFloat) or (answer is None and y.ndim)):
            return f"answers an object of type {type(answer).__name__}, not a number"
        return None

    def _check_columns(self, data: DataSettings) -> None:
        columns = read_columns(data).features
        given = f"DATASET={data.dataset!r}"
        unnamed = [f"Column_{i}" for i in range(len(columns))]  # LightGBM's names for the columns of an array
        if self.names is not None and list(self.names) != unnamed:
            fitted = [str(name) for name in self.names]
            if list(map(_without_blanks, fitted)) != list(map(_without_blanks, columns)):
                raise BadModelError(
                    f"{given}: the model was fitted on the columns {listed(fitted)}, in this order, not on "
                    f"{listed(columns)}: check TARGET and DROP_COLUMNS"
                )
        elif self.n_features not in (None, len(columns)):
            raise BadModelError(
                f"{given}: the model was fitted on {self.n_features} features, not on {len(columns)}: {listed(columns)}"
            )

    def _table(self, vectors: Vectors) -> Any:
        """n vectors of d features in the form that the model was fitted on, None as NaN."""
        import numpy as np

        X = np.array(vectors, float)
        if self.names is None:
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=self.names)

    def _ask(self, vectors: Vectors) -> NDArray[Any]:
        """What the model answers to n vectors of d features."""
        import numpy as np

        X = self._table(vectors)
        if self.labels is not None:
            return np.asarray(self.model.predict_proba(X)) @ self.labels
        answers = self.model.predict(X)
        return np.ma.filled(answers.astype(float), np.nan) if np.ma.isMaskedArray(answers) else np.asarray(answers)

    def predict(self, vectors: Vectors) -> list[float | str]:
        """One prediction for each of n vectors of d features, or the reason why there is none.

        Raises errors that no vector causes, such as MemoryError; all vectors can then be tried again.
        """
        wanted = self.n_features
        answers = iter(self._predict([vector for vector in vectors if wanted in (None, len(vector))]))
        return [
            next(answers) if wanted in (None, len(vector)) else f"expected {wanted} features, got {len(vector)}"
            for vector in vectors
        ]

    def _predict(self, vectors: Vectors) -> list[float | str]:
        if not vectors:
            return []
        try:
            predictions = self._ask(vectors).astype(float)
            if predictions.size != len(vectors):
                raise ValueError(f"{predictions.size} answers to {len(vectors)} vectors")
        except (MemoryError, OSError, BrokenExecutor):
            raise
        except Exception as error:  # one bad vector fails the whole batch: find it
            if str(error) == "can't start new thread":
                raise
            if len(vectors) > 1:
                middle = len(vectors) // 2
                return self._predict(vectors[:middle]) + self._predict(vectors[middle:])
            return [self._reason(vectors[0], describe(error))]
        return [
            y if math.isfinite(y) else self._reason(vector, f"it answered {y}")
            for y, vector in zip(predictions.ravel().tolist(), vectors, strict=True)
        ]

    def _reason(self, vector: Sequence[float | None], problem: str) -> str:
        if None not in vector:
            return f"the model failed: {problem}"
        i = vector.index(None)
        name = f" ({self.names[i]})" if self.names is not None else ""
        return f"the model does not take missing values: feature {i + 1}{name} is null ({problem.splitlines()[0]})"
