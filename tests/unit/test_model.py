"""Predicting, without a broker."""

from harness import ROOT
from model import BadModelError, Config, Regressor, Vector, parse

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression


class Reciprocal:
    """A model of one feature: NaN at 0 and an exception below."""

    n_features_in_ = 1

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        self.calls += 1
        if (X < 0).any():
            raise ArithmeticError("below zero")
        return np.where(X[:, 0] == 0, np.nan, 1 / np.where(X[:, 0] == 0, 1, X[:, 0]))


def regressor(tmp_path: Path, fitted: object) -> Regressor:
    path = tmp_path / "some.pkl"
    path.write_bytes(pickle.dumps(fitted))
    return Regressor(Config(MODEL_PATH=str(path)))


def test_one_bad_vector_does_not_spoil_its_batch(tmp_path: Path) -> None:
    answers = regressor(tmp_path, Reciprocal()).predict([[2.0], [0.0], [-1.0], [4.0]])
    assert answers[0] == 0.5
    assert answers[3] == 0.25
    assert answers[1] == "the model answered nan"
    assert answers[2] == "the model failed: below zero"


def test_a_batch_is_one_call(tmp_path: Path) -> None:
    counted = regressor(tmp_path, Reciprocal())
    bodies = [json.dumps({"id": i, "body": [i]}).encode() for i in range(1, 500)]
    assert json.loads(counted.answer(bodies)[1]) == {"id": 2, "body": 0.5}
    assert counted.model.calls == 1
    assert str(counted.answer([b"bad", b""])[0]).startswith("JSON is malformed")  # and the model is not asked
    assert counted.model.calls == 1


def test_the_number_of_features_is_checked() -> None:
    (reason,) = Regressor(Config()).answer([json.dumps({"id": 1, "body": [0.0] * 9}).encode()])
    assert reason == "expected 10 features, got 9"


def test_the_committed_model_loads_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    X, y = load_diabetes(return_X_y=True)
    answers = np.array(Regressor(Config()).predict(X[::4].tolist()), float)
    assert not recwarn.list
    assert np.abs(answers - y[::4]).mean() == pytest.approx(49.56, abs=0.01)


@pytest.mark.parametrize(
    ("content", "sha256", "message"),
    [
        (None, None, "No such file"),
        (b"", None, "cannot be loaded"),
        (b"PK\x03\x04 not a pickle", None, "cannot be loaded"),
        (pickle.dumps({"a": 1}), None, "a dict has no predict"),
        (
            pickle.dumps(DummyClassifier().fit([[0], [1]], ["yes", "no"])),
            None,
            "answers .*no.*yes.*, not numbers",
        ),
        (b"cos\nsystem\n(S'echo pwned'\ntR.", "0" * 64, "it is not loaded"),
        ((ROOT / "model/src/myfile.pkl").read_bytes().replace(b"1.9.1", b"1.8.9"), None, "train.py makes one"),
    ],
)
def test_a_bad_model_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None, sha256: str | None, message: str
) -> None:
    path = tmp_path / "some.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadModelError, match=message):
        Regressor(Config(MODEL_PATH=str(path), MODEL_SHA256=sha256))
    assert capfd.readouterr() == ("", "")  # what it would print was not run


@pytest.mark.parametrize(
    ("named", "header", "target", "message"),
    [
        (True, "a,b,y", "", ""),
        (True, "y,a,b", "y", ""),
        (True, "a,y", "", "fitted on the columns a, b, not on a"),
        (True, "b,a,y", "", "fitted on the columns a, b, not on b, a"),
        (False, "b,a,y", "", ""),
        (False, "a,b,c,y", "", "fitted on 2 features, not on a, b, c"),
    ],
)
def test_the_columns_of_the_dataset_must_be_those_of_the_model(
    tmp_path: Path, named: bool, header: str, target: str, message: str
) -> None:
    dataset, path = tmp_path / "some.csv", tmp_path / "some.pkl"
    dataset.write_text(header + "\n")
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    path.write_bytes(pickle.dumps(LinearRegression().fit(X if named else X.to_numpy(), [1.0, 2.0])))
    config = Config(MODEL_PATH=str(path), DATASET=str(dataset), TARGET=target)
    if not message:
        assert Regressor(config).predict([[1.0, 3.0]]) == [pytest.approx(1)]
    else:
        with pytest.raises(BadModelError, match=message):
            Regressor(config)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(id=st.floats(-(2**53), 2**53, exclude_min=True, exclude_max=True), body=st.lists(numbers), extra=st.text())
def test_whatever_json_makes_of_a_valid_message_is_taken(id: float, body: list[float], extra: str) -> None:
    for text in (json.dumps({"extra": {extra: [extra]}, "body": body, "id": id}), json.dumps({"id": id, "body": body})):
        message = parse(text.encode(), Vector)
        assert isinstance(message, Vector), message
        assert (message.id, message.body) == (id, body)


@given(
    st.binary() | st.text().map(str.encode) | st.builds(json.dumps, st.dictionaries(st.text(), numbers)).map(str.encode)
)
def test_no_bytes_make_parse_raise(body: bytes) -> None:
    assert isinstance(parse(body, Vector), str | Vector)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b'{"id":1,"id":2,"body":[1]}', "a key twice"),
        (b'{"id":1,"\\u0069d":2,"body":[1]}', "a key twice"),
        (b'{"id":9007199254740992,"body":[1]}', "9007199254740992"),
        (b'{"id":1,"body":[1],"x":"\xff"}', "utf-8"),
        (b'{"id":1,"body":[1],"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "recursion"),
        (b'{"id":1,"body":[' + b"1," * 2**20 + b"1]}", "at most 1048576 bytes, got 2097"),
        (b'{"id":1,"body":[true]}', "Expected `float`, got `bool`"),
    ],
)
def test_a_refused_message_gets_a_reason(body: bytes, reason: str) -> None:
    assert reason in str(parse(body, Vector))
