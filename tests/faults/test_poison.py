"""A message that kills the service ends among the dead letters; one that only happened to be there does not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.faulty_models import MAGIC, Deadly, Sum, pickled
from harness import ROOT, Client, Service, eventually, rows
from local import Broker

pytestmark = pytest.mark.broker
Run = Callable[..., Service]
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}


def letters(client: Client) -> list[tuple[bytes, dict[str, object]]]:
    found = []
    while letter := client.get("dead_letters"):
        found.append(letter)
    return found


@pytest.mark.parametrize("models", [1, 3, 12])
def test_a_vector_that_kills_the_model_ends_alone_among_the_dead_letters(
    client: Client, run: Run, tmp_path: Path, models: int
) -> None:
    for queue in ("features", "y_pred", "dead_letters"):
        client.declare(queue, **QUORUM)
    env = {"MODEL_PATH": pickled(Deadly(), tmp_path), "PYTHONPATH": ROOT / "tests"}
    lives = [run("model", **env) for _ in range(models)]
    for model in lives:
        model.wait_for_log("connected")
    for id in range(1, 1501):  # all models have long taken good ones when the deadly one comes
        client.publish("features", {"id": id, "body": [0.5, id]})
    eventually(lambda: client.count("y_pred") == 1500)
    for model in lives:  # so that it comes in one batch with good ones
        model.signal(signal.SIGSTOP)
    for id in range(1501, 2001):
        client.publish("features", {"id": id, "body": [MAGIC if id == 1501 else 0.5, id]})
    for model in lives:
        model.signal(signal.SIGCONT)
    answered: set[float] = set(range(1, 1501))

    def all_answered() -> bool:
        for i, model in enumerate(lives):
            if model.process.poll() is not None:
                lives[i] = run("model", **env)
        while answer := client.get("y_pred"):
            answered.add(json.loads(answer[0])["id"])
        return len(answered) == 1999 and client.count("dead_letters") >= 1

    try:
        eventually(all_answered, deadline=90)
    finally:
        found = letters(client)
        refused = {json.loads(body)["id"] for body, _ in found}
        print(f"answered {len(answered)}, lives {len(list(tmp_path.glob('model-*')))}, refused {sorted(refused)[:20]}")
    assert refused == {1501}


def test_a_header_of_a_producer_makes_no_poison(client: Client, run: Run, tmp_path: Path) -> None:
    run("metric").wait_for_log("connected")
    for i, count in enumerate([99, -1, "many", 2**40, True, None, [3], {"a": 1}]):
        client.publish("y_true", {"id": i, "body": 1}, **{"x-delivery-count": count})
        client.publish("y_pred", {"id": i, "body": 2})
    eventually(lambda: client.count("y_true") == client.count("y_pred") == 0)
    logs = tmp_path / "logs"
    eventually(lambda: len(rows(logs)) + client.count("dead_letters") >= 8)
    assert [row[0] for row in rows(logs)] == list(range(8))


def test_a_message_of_a_model_killed_while_the_broker_blocks_is_no_poison(
    fragile: Broker, run: Run, tmp_path: Path
) -> None:
    client = Client(fragile.url)
    client.declare("features", **QUORUM)
    client.declare("y_pred", **QUORUM)
    client.publish("features", {"id": 1, "body": [1.0, 2.0]})
    fragile.ctl("set_vm_memory_high_watermark", "0.00001")
    env = {"MODEL_PATH": pickled(Sum(), tmp_path), "PYTHONPATH": ROOT / "tests", "AMQP_URL": fragile.url}
    for _ in range(12):
        model = run("model", **env)
        model.wait_for_log("connected")
        model.wait_for_log("the broker blocks publishing")
        model.kill()
    fragile.ctl("set_vm_memory_high_watermark", "0.4")
    model = run("model", **env)
    model.wait_for_log("connected")
    eventually(lambda: client.count("y_pred") + client.count("dead_letters") == 1)
    assert client.count("y_pred") == 1
    assert "refused" not in model.log


def test_a_half_of_a_metric_that_cannot_write_is_no_poison(fragile: Broker, run: Run, tmp_path: Path) -> None:
    """As when a full disk is noticed half a day later: every 30 minutes the broker takes back what is not settled."""
    metric = run("metric", AMQP_URL=fragile.url)
    metric.wait_for_log("connected")
    csv = tmp_path / "logs/metric_log.csv"
    csv.unlink()
    csv.mkdir()  # cannot be written, not even by root
    client = Client(fragile.url)
    client.publish("y_true", {"id": 1, "body": 1})
    client.publish("y_pred", {"id": 1, "body": 2})
    metric.wait_for_log("cannot write")
    for outage in range(1, 13):
        metric.wait_for_log("connected", outage)
        fragile.ctl("close_all_connections", "test")
    metric.wait_for_log("connected", 13)
    csv.rmdir()
    eventually(lambda: rows(tmp_path / "logs") == [(1.0, 1.0, 2.0, 1.0)])
    assert "refused" not in metric.log
    assert metric.log.count("cannot write") == 1
