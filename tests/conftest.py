"""Fixtures: a real broker, a client of the tests' own, and a way to start the services."""

from __future__ import annotations

import local.node
from harness import QUEUES, Client, Service, memory, unavailable
from local import Node, install_rabbitmq

import functools
import gc
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# A shell that starts the tests with & makes them ignore it, and all programs that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the services' containers
if worker := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"):
    local.node.PORTS = range(20000, 32000)[int(worker) % 8 :: 8]  # otherwise two of them may choose the same one
gc.disable()  # until all is imported, which makes millions of objects that stay


class SideBySide(LoadScopeScheduling):
    """Two processes run the tests that need containers, the others run the rest, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if not file.startswith("tests/e2e/"):
            return file
        return "one stack, then a Swarm" if file.endswith(("test_compose.py", "test_swarm.py")) else "options"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and end with what takes little: then no process waits long for the last one."""
    marks = ("engine", "long", "broker")
    items.sort(key=lambda item: next((i for i, mark in enumerate(marks) if item.get_closest_marker(mark)), len(marks)))


def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    return SideBySide(config, log)


@functools.cache
def has_rabbitmq() -> bool:
    try:
        install_rabbitmq()
    except SystemExit:
        return False
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("broker") and not has_rabbitmq():
        unavailable("no RabbitMQ here, and it may not be installed")


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A private RabbitMQ node for all tests that do not break it, so its data may be in memory.

    It takes messages of 128 MiB, as RabbitMQ did before version 4.
    """
    with (
        tempfile.TemporaryDirectory(dir=memory()) as folder,
        Node(folder, config="max_message_size = 134217728") as broker,
    ):
        yield broker


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    """A client, and a broker without any of our queues."""
    client = Client(node.url)
    for queue in QUEUES:
        client.delete(queue)
    yield client
    if client.connection.is_open:
        client.connection.close()


@pytest.fixture
def run(tmp_path: Path, node: Node) -> Iterator[Callable[..., Service]]:
    """Start a service against the node, its logs folder below tmp_path; all end with the test."""
    started: list[Service] = []

    def start(name: str, **env: object) -> Service:
        folder = tmp_path / f"{name}-{len(started)}"
        folder.mkdir()
        settings: dict[str, Any] = {"AMQP_URL": node.url, "LOGS_DIR": tmp_path / "logs"}
        started.append(Service(name, folder, **settings | env))
        return started[-1]

    yield start
    for service in started:
        service.signal(signal.SIGCONT)
        service.kill()
    for service in started:
        assert "Traceback" not in service.log, f"{service.name}:\n{service.log}"


@pytest.fixture(scope="session")
def fragile_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of its own for the tests that break it."""
    with Node(tmp_path_factory.mktemp("fragile")) as broker:
        yield broker


@pytest.fixture
def fragile(fragile_node: Node) -> Node:
    """A running node without our queues, whatever the test before did to it."""
    if fragile_node.process is None:
        fragile_node.start()
    client = Client(fragile_node.url)
    for queue in QUEUES:
        client.delete(queue)
    client.connection.close()
    return fragile_node
