"""A node of its own for the tests that break it."""

from __future__ import annotations

from harness import QUEUES, Client
from local import Broker, BrokerError

import contextlib
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def fragile_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("fragile")) as broker:
        yield broker


@pytest.fixture
def fragile(fragile_node: Broker) -> Broker:
    """A running node without our queues and without alarms, whatever the test before did to it."""
    if fragile_node.process is None:
        fragile_node.start()
    with contextlib.suppress(BrokerError):
        fragile_node.ctl("set_vm_memory_high_watermark", "0.4")
    client = Client(fragile_node.url)
    for queue in QUEUES:
        client.delete(queue)
    client.connection.close()
    return fragile_node
