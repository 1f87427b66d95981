"""Each service against a real broker, and all of them together."""

from harness import ROOT, Client, Run, eventually, rows

import json
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pika
import pytest
from sklearn.datasets import load_diabetes

pytestmark = pytest.mark.broker


def test_features_publishes_held_out_rows_under_increasing_ids(client: Client, run: Run) -> None:
    assert run("features", INTERVAL=0, COUNT=300, SEED=7).wait() == 0
    X, y = load_diabetes(return_X_y=True)
    held_out = {tuple(x): label for x, label in zip(X[::4].tolist(), y[::4].tolist(), strict=True)}
    samples = [json.loads(body) for body, _ in client.take("features", 300)]
    labels = [json.loads(body) for body, _ in client.take("y_true", 300)]
    assert client.count("features") == client.count("y_true") == 0
    assert [sample["id"] for sample in samples] == [label["id"] for label in labels]
    assert all(a["id"] < b["id"] for a, b in pairwise(samples))
    assert all(held_out[tuple(s["body"])] == t["body"] for s, t in zip(samples, labels, strict=True))
    assert len({tuple(sample["body"]) for sample in samples}) > 90  # of 111 rows: drawn from all of them


def test_features_with_a_seed_repeats_itself(client: Client, run: Run) -> None:
    draws = []
    for _ in range(2):
        assert run("features", INTERVAL=0, COUNT=50, SEED=3).wait() == 0
        draws.append([json.loads(body)["body"] for body, _ in client.take("features", 50)])
        client.take("y_true", 50)
    assert draws[0] == draws[1]


def test_model_answers_with_its_prediction_and_the_same_id(client: Client, run: Run) -> None:
    model = run("model")
    model.wait_for_log("connected")
    X = load_diabetes().data[:20]
    for i, x in enumerate(X.tolist()):
        client.publish("features", {"id": 1699541234.567 + i, "body": x})
    answers = [json.loads(body) for body, _ in client.take("y_pred", 20)]
    fitted = pickle.loads((ROOT / "model/src/myfile.pkl").read_bytes())
    assert [a["id"] for a in answers] == [1699541234.567 + i for i in range(20)]
    np.testing.assert_allclose([a["body"] for a in answers], fitted.predict(X), rtol=1e-12)
    eventually(lambda: client.count("features") == 0)


def test_metric_logs_one_row_per_pair_whichever_half_comes_first(client: Client, run: Run, tmp_path: Path) -> None:
    run("metric").wait_for_log("connected")
    client.publish("y_true", {"id": 1.5, "body": 3})
    client.publish("y_pred", {"id": 1.5, "body": 0.1, "unit": "mg/dl"})
    client.publish("y_pred", {"id": 2.5, "body": -1e-300})
    client.publish("y_true", {"id": 2.5, "body": 1 / 3})
    eventually(lambda: len(rows(tmp_path / "logs")) == 2)
    assert rows(tmp_path / "logs") == [(1.5, 3.0, 0.1, 3 - 0.1), (2.5, 1 / 3, -1e-300, 1 / 3 + 1e-300)]
    text = (tmp_path / "logs/metric_log.csv").read_text()
    assert text == f"id,y_true,y_pred,absolute_error\n1.5,3.0,0.1,{3 - 0.1!r}\n2.5,{1 / 3!r},-1e-300,{1 / 3!r}\n"


@pytest.mark.parametrize("order", [("features", "model", "metric"), ("metric", "model", "features")])
def test_the_whole_pipeline_in_any_order(client: Client, run: Run, tmp_path: Path, order: tuple[str, ...]) -> None:
    services = {name: run(name, INTERVAL=0, COUNT=2000) for name in order}
    assert services["features"].wait() == 0
    eventually(lambda: len(rows(tmp_path / "logs")) >= 2000)
    logged = rows(tmp_path / "logs")
    assert len({row[0] for row in logged}) == len(logged) == 2000
    assert all(error == abs(y_true - y_pred) for _, y_true, y_pred, error in logged)
    assert 40 < np.mean([row[3] for row in logged]) < 60  # train.py says 49.56 on the held-out rows
    eventually(lambda: [client.count(q) for q in ("features", "y_true", "y_pred", "dead_letters")] == [0, 0, 0, 0])
    assert [services[name].terminate() for name in ("model", "metric")] == [0, 0]


def test_properties_of_cloudevents_are_accepted(client: Client, run: Run, tmp_path: Path) -> None:
    """Its binary mode: the attributes are application properties, the body is the message itself."""
    for name in ("model", "metric"):
        run(name).wait_for_log("connected")
    for queue, body in ("features", load_diabetes().data[0].tolist()), ("y_true", 151.0):
        headers = {
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": "8f2c",
            "cloudEvents:source": "/ward/7",
            "cloudEvents:type": f"org.example.{queue}",
            "cloudEvents:time": "2023-11-09T14:47:14.567Z",
        }
        properties = pika.BasicProperties("application/json", headers=headers, message_id="8f2c", app_id="ward")
        message = json.dumps({"id": 1699541234.567, "body": body}).encode()
        client.channel.basic_publish("", queue, message, properties, mandatory=True)
    ((sample_id, y_true, y_pred, _),) = eventually(lambda: rows(tmp_path / "logs"))
    assert (sample_id, y_true) == (1699541234.567, 151.0)
    assert 25 < y_pred < 346  # the range of the labels
    assert client.count("dead_letters") == 0


def test_queues_that_exist_in_another_form_are_used_as_they_are(client: Client, run: Run, tmp_path: Path) -> None:
    client.declare("features")  # classic
    client.declare("y_true")
    client.declare("y_pred", **{"x-queue-type": "quorum"})
    for name in ("model", "metric"):
        run(name).wait_for_log("connected")
    assert run("features", INTERVAL=0, COUNT=100).wait() == 0
    eventually(lambda: len(rows(tmp_path / "logs")) == 100)


def test_training_again_gives_the_same_predictions(tmp_path: Path) -> None:
    again = tmp_path / "again.pkl"
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "model/src/train.py"],
        env={"MODEL_PATH": str(again), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    committed = pickle.loads((ROOT / "model/src/myfile.pkl").read_bytes())
    X, y = load_diabetes(return_X_y=True)
    predictions: Any = committed.predict(X)
    np.testing.assert_allclose(pickle.loads(again.read_bytes()).predict(X), predictions, rtol=1e-9)
    mae = np.abs(predictions[::4] - y[::4]).mean()
    baseline = np.abs(np.delete(y, np.s_[::4]).mean() - y[::4]).mean()
    assert f"held-out rows: {mae:.2f}" in done.stdout
    assert f"mean: {baseline:.2f}" in done.stdout
    assert mae < 0.75 * baseline
