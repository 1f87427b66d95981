"""Replacing the model while it runs."""

from harness import ROOT, Client, Service, eventually

import hashlib
import json
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

pytestmark = pytest.mark.broker


def replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def start_model(run: Callable[..., Service], folder: Path) -> tuple[Path, Service]:
    """The service on a copy of the bundled model, and the path of that."""
    path = folder / "some.pkl"
    shutil.copy(ROOT / "model/src/myfile.pkl", path)
    model = run("model", MODEL_PATH=path)
    model.wait_for_log("connected")
    return path, model


def test_a_new_model_takes_effect_and_a_bad_one_does_not(
    client: Client, run: Callable[..., Service], tmp_path: Path
) -> None:
    path, model = start_model(run, tmp_path)
    seven = DummyRegressor(strategy="constant", constant=7.0).fit(np.zeros((2, 10)), [7.0, 7.0])
    ids = iter(range(100))

    def ask() -> float:
        client.publish("features", {"id": next(ids), "body": [0.0] * 10})
        return float(json.loads(client.take("y_pred", 1)[0][0])["body"])

    assert ask() > 100
    replace(path, b"not a pickle")
    model.wait_for_log("cannot be loaded")
    assert "the old model stays" in model.log
    assert ask() > 100
    replace(path, pickle.dumps(seven))
    model.wait_for_log("switched to the new model")
    assert ask() == 7
    path.unlink()
    model.wait_for_log("there is no such file")
    assert ask() == 7
    assert model.terminate() == 0


@pytest.mark.parametrize("bad", ["no model", "another model", "nothing"])
def test_a_model_whose_process_dies_comes_back_although_its_file_was_replaced(
    client: Client, run: Callable[..., Service], tmp_path: Path, bad: str
) -> None:
    path, model = start_model(run, tmp_path)
    other = DummyRegressor(strategy="constant", constant=7.0).fit(np.zeros((2, 3)), [7.0, 7.0])
    client.publish("features", {"id": 1, "body": [0.0] * 10})
    client.take("y_pred", 1)
    if bad == "nothing":
        path.unlink()
    else:
        replace(path, b"not a pickle" if bad == "no model" else pickle.dumps(other))
    model.wait_for_log("the old model stays")
    eventually(lambda: len(model.children) == 1, "the end of the candidate")
    os.kill(model.children[0], signal.SIGKILL)
    client.publish("features", {"id": 2, "body": [0.0] * 10})
    assert json.loads(client.take("y_pred", 1)[0][0])["body"] > 100
    assert model.log.count("died") == 1
    assert model.terminate() == 0


def test_a_batch_says_by_which_model_it_is_also_where_its_first_vector_is_rejected(
    client: Client, run: Callable[..., Service], tmp_path: Path
) -> None:
    path, model = start_model(run, tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for n in 1, 50, 50:  # so that a batch has more than one vector
        for sample_id in range(n):
            client.publish("features", {"id": sample_id, "body": [0.0] * 10})
        client.take("y_pred", n)
    model.signal(signal.SIGSTOP)
    for body in [0.0], [0.0] * 10, [0.1] * 10:
        client.publish("features", {"id": 100, "body": body})
    model.signal(signal.SIGCONT)
    client.take("dead_letters", 1)
    eventually(lambda: client.count("y_pred") == 2)
    digests = [client.channel.basic_get("y_pred", auto_ack=True)[1].app_id for _ in range(2)]
    assert digests[0] == sha256


class NeverLoads:
    """Keeps whoever unpickles it busy for ever."""

    def __reduce__(self) -> tuple[object, tuple[float]]:
        return time.sleep, (1e6,)


def test_a_good_model_is_taken_after_one_that_never_loads(
    client: Client, run: Callable[..., Service], tmp_path: Path
) -> None:
    path, model = start_model(run, tmp_path)
    replace(path, pickle.dumps(NeverLoads()))
    eventually(lambda: len(model.children) == 2, "a second process, which loads the file")
    time.sleep(1)
    client.publish("features", {"id": 1, "body": [0.0] * 10})
    assert json.loads(client.take("y_pred", 1)[0][0])["body"] > 100
    seven = DummyRegressor(strategy="constant", constant=7.0).fit(np.zeros((2, 10)), [7.0, 7.0])
    replace(path, pickle.dumps(seven))
    model.wait_for_log("switched to the new model")
    client.publish("features", {"id": 2, "body": [0.0] * 10})
    assert json.loads(client.take("y_pred", 1)[0][0])["body"] == 7
    eventually(lambda: len(model.children) == 1, "the end of the process that hangs")
    assert model.terminate() == 0


class DiesWhenLoaded:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (7,)


def test_each_try_to_load_a_model_that_fails_is_logged(run: Callable[..., Service], tmp_path: Path) -> None:
    path = tmp_path / "deadly.pkl"
    path.write_bytes(pickle.dumps(DiesWhenLoaded()))
    model = run("model", MODEL_PATH=path)
    assert model.wait() == 2
    assert model.log.count("the process that loads the model died (exit code 7)") == 3
    assert model.log.endswith("the process that loads it dies (exit code 7)\n")
