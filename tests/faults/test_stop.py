"""Guarantees 6 and 7: SIGTERM ends a service within 2 s, whatever it is at; one metric writes, the next takes over."""

from __future__ import annotations

from faults.faulty_models import MAGIC, Slow, pickled
from faults.oracle import QUORUM
from faults.proxy import Proxy
from harness import DRIVER, QUEUES, ROOT, SERVICES, Client, Run, Service, eventually, rows
from local import Node

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
SERVICE_NAMES = ["features", "model", "metric"]
each = pytest.mark.parametrize("name", SERVICE_NAMES)


def stop(service: Service) -> None:
    begun = time.monotonic()
    assert service.terminate() == 0, service.log
    took = time.monotonic() - begun
    assert took < 2, f"{took:.1f} s"


@each
def test_stop_when_idle(client: Client, run: Run, name: str) -> None:
    service = run(name)
    service.wait_for_log("connected")
    stop(service)


@each
def test_stop_without_a_broker(run: Run, name: str) -> None:
    service = run(name, AMQP_URL="amqp://guest:guest@127.0.0.1:1/%2F")
    service.wait_for_log("no connection")
    stop(service)


@each
def test_stop_with_a_broker_that_does_not_answer(
    client: Client, run: Run, node: Node, tmp_path: Path, name: str
) -> None:
    with Proxy(node.port) as proxy:
        opened = run(name, AMQP_URL=proxy.url)
        opened.wait_for_log("connected")
        proxy.stop()
        opening = run(name, AMQP_URL=proxy.url, LOGS_DIR=tmp_path / "other logs")
        eventually(lambda: proxy.connections(opening.process.pid) > 0)
        stop(opened)
        stop(opening)


@each
def test_stop_under_load(client: Client, run: Run, name: str) -> None:
    services = {each: run(each, INTERVAL=0) for each in SERVICE_NAMES}
    for service in services.values():
        service.wait_for_log("connected")
    stop(services[name])


def test_stop_in_the_middle_of_a_large_batch(client: Client, run: Run, tmp_path: Path) -> None:
    """One vector fails, so that all are tried one by one: 50 s for a thousand."""
    client.declare("features", **QUORUM)
    for sample_id in range(1000):
        client.publish("features", {"id": sample_id, "body": [MAGIC if sample_id == 500 else 0.5]})
    model = run("model", MODEL_PATH=pickled(Slow(), tmp_path), PYTHONPATH=ROOT / "tests")
    model.wait_for_log("connected")
    eventually(lambda: client.count("features") < 1000, "vectors with the model")
    stop(model)
    eventually(lambda: client.count("features") + client.count("y_pred") == 1000, "all vectors back, or answered")


def test_a_slow_model_answers_a_batch_with_a_bad_vector(client: Client, run: Run, tmp_path: Path) -> None:
    """And keeps its connection meanwhile, of which the broker expects a heartbeat every 10 s."""
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    for sample_id in range(160):
        client.publish("features", {"id": sample_id, "body": [MAGIC if sample_id == 100 else 0.5]})
    model = run("model", MODEL_PATH=pickled(Slow(), tmp_path), PYTHONPATH=ROOT / "tests")
    model.wait_for_log("connected")
    eventually(lambda: client.count("y_pred") == 159, deadline=90)
    (letter,) = client.take("dead_letters", 1)
    assert json.loads(letter[0])["id"] == 100
    assert model.log.count("connected") == 1


def test_stop_while_another_metric_has_the_folder(client: Client, run: Run) -> None:
    run("metric").wait_for_log("connected")
    second = run("metric")
    second.wait_for_log("another metric")
    stop(second)


def test_of_many_metrics_one_writes_and_the_next_takes_over(client: Client, run: Run, tmp_path: Path) -> None:
    metrics = [run("metric") for _ in range(4)]
    expected = []
    while metrics:
        (writer,) = eventually(lambda them=metrics: [m for m in them if "connected" in m.log])  # type: ignore[misc]
        sample_id = float(len(metrics))
        client.publish("y_true", {"id": sample_id, "body": 1})
        client.publish("y_pred", {"id": sample_id, "body": 2})
        expected.append((sample_id, 1.0, 2.0, 1.0))
        eventually(lambda: rows(tmp_path / "logs") == expected)
        others = [metric for metric in metrics if metric is not writer]
        for metric in others:
            metric.wait_for_log("another metric writes to")
            assert metric.log.count("\n") == 1
        writer.signal(signal.SIGKILL)
        writer.wait()
        metrics = others


@pytest.mark.long
def test_stop_while_the_lookup_of_a_name_hangs(run: Run) -> None:
    settings = {"script": DRIVER, "SLOW_LOOKUP": 1, "AMQP_URL": "amqp://somewhere.invalid"}
    services = [run(name, SERVICE=name, PYTHONPATH=f"{SERVICES}/{name}/src", **settings) for name in SERVICE_NAMES]
    for service in services:
        service.wait_for_log("no connection")  # after 10 s
    time.sleep(1.5)  # in the next lookup
    for service in services:
        stop(service)


@pytest.mark.parametrize("name", [*SERVICE_NAMES, "plot"])
def test_stop_as_soon_as_the_service_has_begun(run: Run, name: str) -> None:
    """While it still imports what it needs."""
    service = run(name)
    eventually(service.answers_sigterm)
    stop(service)
    assert service.log == ""


def test_stop_of_a_service_that_is_busy() -> None:
    """Such as metric that writes a CSV of a million rows again."""
    program = """
from pipeline.settings import Settings, run

async def main(settings):
    print("busy", flush=True)
    while True:
        pass

run("busy", Settings, main)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as service:
        assert service.stdout
        service.stdout.readline()
        service.terminate()
        try:
            time.sleep(1)
            service.terminate()  # as somebody who is impatient
            assert service.wait(1) == 0
        finally:
            service.kill()


def test_stop_while_data_is_loaded(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "large.csv"
    data.write_text("a,b,c,y\n" + "1.5,2.5,3.5,4.5\n" * 2_000_000)  # some seconds
    service = run("features", DATASET=data)
    time.sleep(1)
    stop(service)
    assert service.log == ""
