"""Guarantee 5: whatever the broker or the network does, a service waits in one line and goes on by itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness import Client, Service, eventually
from local import Broker

pytestmark = pytest.mark.broker
Run = Callable[..., Service]


def vector(id: float) -> dict[str, object]:
    return {"id": id, "body": [0.01] * 10}


@pytest.mark.parametrize("interval", [0, 0.001, 0.3])
def test_features_goes_on_after_its_connection_was_closed(fragile: Broker, run: Run, interval: float) -> None:
    features = run("features", AMQP_URL=fragile.url, INTERVAL=interval)
    for outage in range(1, 4):
        features.wait_for_log("connected", outage)
        fragile.ctl("close_all_connections", "test")
        features.wait_for_log("connected", outage + 1)
    assert features.log.count("WARNING") == 3
    assert features.terminate() == 0


@pytest.mark.parametrize("interval", [0, 0.001])
def test_features_survives_the_deletion_of_a_queue(client: Client, run: Run, interval: float) -> None:
    features = run("features", INTERVAL=interval)
    for deletion in range(1, 4):
        features.wait_for_log("connected", deletion)
        eventually(lambda: client.count("y_true") > 0)
        client.delete("y_true")
        features.wait_for_log("connected", deletion + 1)
    assert features.log.count("WARNING") == 3
    assert features.terminate() == 0


def test_features_publishes_what_the_broker_refused_before_the_connection_closed(fragile: Broker, run: Run) -> None:
    client = Client(fragile.url)
    client.declare("y_true", **{"x-max-length": 5, "x-overflow": "reject-publish"})
    features = run("features", AMQP_URL=fragile.url, INTERVAL=0, COUNT=50)
    features.wait_for_log("connected")
    eventually(lambda: client.count("features") == 50)
    fragile.ctl("close_all_connections", "test")
    features.wait_for_log("connected", 2)
    client = Client(fragile.url)
    ids: set[float] = set()

    def all_labels() -> bool:
        while message := client.get("y_true"):
            ids.add(json.loads(message[0])["id"])
        return len(ids) == 50

    eventually(all_labels, "50 labels")
    assert features.wait() == 0
