"""Answering the messages of a batch, without a broker or a process. What regressor.py does has tests of its own."""

from harness import ROOT
from model import COMMAND, ModelSettings, Prediction, Rejection, answer_messages
from pipeline.messages import Value, parse
from pipeline.regressor import Regressor

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes


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


@pytest.fixture
def reciprocal(tmp_path: Path) -> Regressor:
    path = tmp_path / "some.pkl"
    path.write_bytes(pickle.dumps(Reciprocal()))
    regressor = Regressor(str(path), None, ModelSettings())
    regressor.model.calls = 0  # it is tried out when it is loaded
    return regressor


@pytest.fixture
def committed() -> Regressor:
    return Regressor(ModelSettings().model_path, None, ModelSettings())


def message(sample_id: object, *body: object) -> bytes:
    return json.dumps({"id": sample_id, "body": body}).encode()


def test_a_batch_is_one_call_and_the_answers_keep_its_order(reciprocal: Regressor) -> None:
    answers = answer_messages(reciprocal, [message(i, i) for i in range(1, 500)])
    assert reciprocal.model.calls == 1
    assert all(isinstance(each, Prediction) for each in answers)
    values = [json.loads(each.message) for each in answers if isinstance(each, Prediction)]
    assert values == [{"id": i, "body": 1 / i} for i in range(1, 500)]


def test_the_model_is_not_asked_where_there_is_nothing_to_ask(reciprocal: Regressor) -> None:
    answers = answer_messages(reciprocal, [b"bad", b"", message(1), message(1, 2, 3)])
    assert reciprocal.model.calls == 0
    reasons = [each.reason for each in answers if isinstance(each, Rejection)]
    assert [reason.split(" at ")[0] for reason in reasons] == [
        "JSON is malformed",
        "the message is empty",
        "expected 1 features, got 0",
        "expected 1 features, got 2",
    ]


def test_one_bad_vector_does_not_spoil_its_batch(reciprocal: Regressor) -> None:
    answers = answer_messages(
        reciprocal, [message(1, 2), message(2, 0), b"bad", message(3, -1), message(4, None), message(5, 4)]
    )
    predictions = {i: json.loads(each.message) for i, each in enumerate(answers) if isinstance(each, Prediction)}
    assert predictions == {0: {"id": 1, "body": 0.5}, 5: {"id": 5, "body": 0.25}}
    reasons = {i: each.reason for i, each in enumerate(answers) if isinstance(each, Rejection)}
    assert reasons[1] == "the model failed: it answered nan"
    assert reasons[2].startswith("JSON is malformed at 'bad'")
    assert reasons[3] == "the model failed: ArithmeticError: below zero"
    assert reasons[4] == "the model does not take missing values: feature 1 is null (it answered nan)"
    assert reasons.keys() == {1, 2, 3, 4}


def test_the_number_of_features_is_checked(committed: Regressor) -> None:
    (rejection,) = answer_messages(committed, [message(1, *[0.0] * 9)])
    assert rejection == Rejection("expected 10 features, got 9")


def test_the_committed_model_loads_and_answers_without_a_warning(
    committed: Regressor, recwarn: pytest.WarningsRecorder
) -> None:
    X, y = load_diabetes(return_X_y=True)
    answers = answer_messages(committed, [message(i, *x) for i, x in enumerate(X[::4].tolist())])
    assert not recwarn.list
    y_pred = [json.loads(each.message)["body"] for each in answers if isinstance(each, Prediction)]
    assert np.abs(np.array(y_pred) - y[::4]).mean() == pytest.approx(49.56, abs=0.01)
    assert ModelSettings().model_path == str(ROOT / "model/src/myfile.pkl")


def test_a_prediction_is_a_message_that_metric_takes(committed: Regressor) -> None:
    (prediction,) = answer_messages(committed, [message(1.5, *[0.0] * 10)])
    assert isinstance(prediction, Prediction)
    value = parse(prediction.message, Value)
    assert isinstance(value, Value)
    assert float(value.id) == 1.5
    assert 25 < value.body < 346  # the range of the labels


@pytest.mark.parametrize(
    "request_begun", [b'["YWJ', b'["YWJj"]\n'], ids=["in the middle of a request", "before its answer"]
)
def test_a_service_that_is_killed_leaves_no_traceback_of_the_models_process(request_begun: bytes) -> None:
    service = ROOT / "model/src/model.py"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", COMMAND, service, service.with_name("myfile.pkl")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert b"Loaded" in process.stdout.readline()
    process.stdout.close()
    process.stdin.write(request_begun)
    process.stdin.close()
    assert process.stderr.read() == b""
    process.wait(60)
    process.stderr.close()
