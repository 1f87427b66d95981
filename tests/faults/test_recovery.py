"""Guarantee 5: whatever the broker or the network does, a service logs one line, waits, and recovers."""

from __future__ import annotations

from faults.faulty_models import SumOfThree, pickled
from faults.oracle import QUORUM, dataset
from faults.proxy import Proxy
from harness import ROOT, Client, Run, eventually, rows
from local import Node
from pipeline.broker import Broker, BrokerSettings, stay_connected

import asyncio
import json
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
HEALED = 30.0  # seconds after the end of what was wrong
NOTICED = 30.0  # seconds until a silent network is given up: two heartbeats and a little


class Pipeline:
    """The services, with a sample every 10 ms."""

    def __init__(self, run: Run, tmp_path: Path) -> None:
        self.run, self.logs = run, tmp_path / "logs"
        self.env = {"MODEL_PATH": pickled(SumOfThree(), tmp_path), "PYTHONPATH": ROOT / "tests", "INTERVAL": 0.01}
        self.data = dataset(tmp_path / "dataset.csv")

    def start(self, url: str) -> None:
        env = self.env | {"AMQP_URL": url}
        self.services = [self.run("features", DATASET=self.data, **env), self.run("model", **env)]
        self.services.append(self.run("metric", **env))

    def wait_for_log(self, text: str, times: int = 1) -> None:
        for service in self.services:
            service.wait_for_log(text, times)

    def goes_on(self) -> None:
        before = len(rows(self.logs))
        eventually(lambda: len(rows(self.logs)) > before + 10, "new rows", HEALED)

    def stop(self, outages: int | None = None) -> None:
        """Each service said once an outage what was wrong, and stops as it should."""
        for service in self.services:
            assert outages in (None, service.log.count("WARNING")), service.log
            begun = time.monotonic()
            assert service.terminate() == 0
            assert time.monotonic() - begun < 2
        logged = rows(self.logs)
        assert len({row[0] for row in logged}) == len(logged)


@pytest.fixture
def pipeline(run: Run, tmp_path: Path) -> Pipeline:
    return Pipeline(run, tmp_path)


@pytest.mark.long
def test_a_broker_that_is_absent_and_ends_now_and_then(fragile: Node, pipeline: Pipeline) -> None:
    fragile.stop()
    pipeline.start(fragile.url)
    pipeline.wait_for_log("no connection")
    fragile.start()
    pipeline.goes_on()
    time.sleep(2)  # a queue declared just before a SIGKILL may never be found again
    for end in (fragile.stop, fragile.kill):
        end()
        fragile.start()
        pipeline.goes_on()
        pipeline.wait_for_log("connected", 2)
    pipeline.stop(outages=3)


def test_connections_closed_by_the_operator(fragile: Node, pipeline: Pipeline) -> None:
    pipeline.start(fragile.url)
    for outage in range(1, 4):
        pipeline.wait_for_log("connected", outage)
        pipeline.goes_on()
        fragile.ctl("close_all_connections", "maintenance")
        pipeline.wait_for_log("connected", outage + 1)
    pipeline.goes_on()
    pipeline.stop(outages=3)


def test_a_broker_that_blocks_publishers(fragile: Node, pipeline: Pipeline) -> None:
    """It tells those who publish: features for sure."""
    pipeline.start(fragile.url)
    try:
        for times in (1, 2):
            fragile.ctl("set_vm_memory_high_watermark", "0.4")
            pipeline.goes_on()
            fragile.ctl("set_vm_memory_high_watermark", "0.00001")
            pipeline.services[0].wait_for_log("the broker blocks publishing", times)
        assert pipeline.services[0].log.count("WARNING") == 2
        pipeline.stop()
    finally:
        fragile.ctl("set_vm_memory_high_watermark", "0.4")


@pytest.mark.parametrize("queue", ["features", "y_true", "y_pred", "dead_letters"])
def test_a_queue_deleted_under_load(client: Client, node: Node, pipeline: Pipeline, queue: str) -> None:
    """Whoever uses it declares it again; what was in it is gone, as the operator wished."""
    pipeline.start(node.url)
    pipeline.goes_on()
    client.delete(queue)
    if queue == "dead_letters":  # nobody notices before it is needed
        client.publish("y_true", b"bad")
        pipeline.services[2].wait_for_log("connected", 2)
        client.take("dead_letters", 1)
    pipeline.goes_on()
    assert all(service.log.count("no connection") <= 1 for service in pipeline.services)
    pipeline.stop()


@pytest.mark.long
def test_a_network_that_falls_silent(client: Client, node: Node, pipeline: Pipeline) -> None:
    """No end of the connection ever comes, and a new one is never answered."""
    with Proxy(node.port) as proxy:
        pipeline.start(proxy.url)
        pipeline.goes_on()
        proxy.stop()
        for service in pipeline.services:
            eventually(lambda s=service: "no connection" in s.log, f"{service.name} to notice", NOTICED)  # type: ignore[misc]
        proxy.go_on()
        pipeline.goes_on()
        pipeline.stop(outages=1)


@pytest.mark.long
def test_a_connection_that_is_never_answered_is_closed(node: Node, run: Run) -> None:
    with Proxy(node.port) as proxy:
        proxy.stop()
        features = run("features", AMQP_URL=proxy.url)
        features.wait_for_log("no answer within 10 s; trying again every second")
        time.sleep(2)  # it has tried again
        assert proxy.connections(features.process.pid) == 1
        proxy.go_on()
        features.wait_for_log("connected")
        assert proxy.connections(features.process.pid) == 1
        assert features.terminate() == 0


@pytest.mark.parametrize("interval", [0, 0.3])
def test_features_draws_as_before_after_its_connection_was_closed(fragile: Node, run: Run, interval: float) -> None:
    features = run("features", AMQP_URL=fragile.url, INTERVAL=interval)
    features.wait_for_log("connected")
    for outage in range(2, 4):
        fragile.ctl("close_all_connections", "test")
        features.wait_for_log("connected", outage)
    assert features.log.count("WARNING") - features.log.count("publishing pauses") == 2
    assert features.terminate() == 0


def test_features_draws_nothing_early_and_nothing_late_after_outages(fragile: Node, run: Run) -> None:
    features = run("features", AMQP_URL=fragile.url, INTERVAL=6)
    eventually(lambda: features.log.count("connected") and Client(fragile.url).count("y_true") == 1)
    begun = time.monotonic()
    for outage in range(2, 4):
        fragile.ctl("close_all_connections", "test")
        features.wait_for_log("connected", outage)
    client = Client(fragile.url)
    assert client.count("y_true") <= 1 + int((time.monotonic() - begun) / 6)
    eventually(lambda: client.count("y_true") == 3, "the third sample", 13)
    assert features.terminate() == 0
    assert run("features", AMQP_URL=fragile.url, INTERVAL=1000, COUNT=1).wait() == 0
    client.connection.close()


def test_features_publishes_what_the_broker_rejected_before_the_connection_closed(fragile: Node, run: Run) -> None:
    client = Client(fragile.url)
    client.declare("y_true", **{"x-max-length": 5, "x-overflow": "reject-publish"})
    features = run("features", AMQP_URL=fragile.url, INTERVAL=0, COUNT=20)
    eventually(lambda: features.log.count("connected") and client.count("features") == 20)
    features.wait_for_log("the broker rejects messages for y_true")
    fragile.ctl("close_all_connections", "test")
    features.wait_for_log("connected", 2)
    client = Client(fragile.url)
    ids: set[float] = set()

    def all_labels() -> bool:
        while message := client.get("y_true"):
            ids.add(json.loads(message[0])["id"])
        return len(ids) == 20

    eventually(all_labels, "20 labels")
    assert features.wait() == 0


@pytest.mark.parametrize(("name", "answers"), [("model", "y_pred"), ("metric", "dead_letters")])
def test_what_the_broker_did_not_take_comes_again_after_a_kill(
    client: Client, run: Run, name: str, answers: str
) -> None:
    """So none of what it answers is acknowledged before the answer is confirmed."""
    source = "features" if name == "model" else "y_true"
    client.declare(source, **QUORUM)
    client.declare(answers, **{"x-max-length": 5, "x-overflow": "reject-publish"})
    service = run(name)
    service.wait_for_log("connected")
    for sample_id in range(16):  # as many as are held at first
        client.publish(source, {"id": sample_id, "body": [0.01] * 10})  # no label: metric rejects it
    service.wait_for_log(f"the broker rejects messages for {answers}")
    eventually(lambda: client.count(source) == 0)
    service.kill()
    run(name)
    ids: set[float] = set()

    def all_answers() -> bool:
        while message := client.get(answers):
            ids.add(json.loads(message[0])["id"])
        return len(ids) == 16

    eventually(all_answers, "16 answers")


def test_a_consumer_that_renews_its_connection_stays_with_the_broker(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two addresses, one is down; and nothing comes."""
    monkeypatch.setattr("pipeline.broker.RENEWAL", 0.5)
    caplog.set_level("INFO")
    begun = time.monotonic()
    connections = 0

    async def serve(broker: Broker) -> None:
        nonlocal connections
        connections += 1
        if connections < 4:
            async for _ in broker.batches("y_true"):
                pass

    settings = BrokerSettings(amqp_url=f"{node.url},amqp://127.0.0.1:1")
    asyncio.run(stay_connected("metric", settings, ("y_true",), serve))
    assert 1.5 < time.monotonic() - begun < 10
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []
