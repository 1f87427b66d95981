"""Guarantee 2 where the queues are there already, or are somebody else's: nothing is lost without a word."""

from __future__ import annotations

from faults.oracle import QUORUM
from harness import Client, Run, eventually, rows
from local import Node

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

pytestmark = pytest.mark.broker

HARMFUL: dict[str, dict[str, Any]] = {
    "not durable": {"durable": False},
    "age": {"durable": True, "arguments": {"x-message-ttl": 3_600_000}},
    "number": {"durable": True, "arguments": {"x-max-length": 1000}},
    "bytes": {"durable": True, "arguments": {"x-max-length-bytes": 10**6}},
    "expires": {"durable": True, "arguments": {"x-expires": 3_600_000}},
    "few deliveries": {"durable": True, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3}},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "version 0.1": {"durable": True, "arguments": QUORUM},
    "tutorial": {"durable": True},
}


def pair(client: Client, sample_id: float) -> None:
    client.publish("y_true", {"id": sample_id, "body": 1})
    client.publish("y_pred", {"id": sample_id, "body": 2})


@pytest.mark.parametrize("kind", [*HARMFUL, *HARMLESS])
def test_a_queue_that_is_there_already_is_used_with_one_warning(
    client: Client, run: Run, tmp_path: Path, kind: str
) -> None:
    client.channel.queue_declare("y_true", **(HARMFUL | HARMLESS)[kind])
    metric = run("metric")
    metric.wait_for_log("connected")
    pair(client, 1)
    eventually(lambda: rows(tmp_path / "logs") == [(1, 1, 2, 1)])
    (warning,) = [line for line in metric.log.splitlines() if "WARNING" in line]
    assert "the queue y_true exists in another form" in warning
    assert ("lose messages" if kind in HARMFUL else "policy") in warning
    assert "inequivalent arg" in warning
    assert metric.terminate() == 0


@pytest.mark.parametrize(("name", "queue"), [("features", "features"), ("model", "features"), ("metric", "y_pred")])
def test_a_stream_is_rejected_in_one_line(client: Client, run: Run, name: str, queue: str) -> None:
    client.channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream"})
    service = run(name)
    assert service.wait() == 2
    assert f"the queue {queue} is a stream" in service.log
    assert service.log.count("\n") == 1


@pytest.mark.parametrize(("name", "queue"), [("model", "features"), ("metric", "y_true")])
def test_a_queue_that_ends_with_its_consumer_is_rejected_with_what_is_in_it(
    client: Client, run: Run, name: str, queue: str
) -> None:
    client.channel.queue_declare(queue, durable=True, auto_delete=True)
    for sample_id in range(100):
        client.publish(queue, {"id": sample_id, "body": 1})
    service = run(name)
    assert service.wait() == 2
    assert f"the queue {queue} is deleted with its last consumer, and all its messages: delete it" in service.log
    assert service.log.count("\n") == 1
    assert client.count(queue) == 100


def test_each_form_of_a_queue_is_warned_of(client: Client, run: Run, node: Node) -> None:
    client.declare("y_true")
    metric = run("metric")
    metric.wait_for_log("exists in another form: messages dropped by a policy")
    client.delete("y_true")
    client.channel.queue_declare("y_true", **HARMFUL["age"])
    node.ctl("close_all_connections", "test")
    metric.wait_for_log("exists in another form: it may lose messages")
    client.connection = Client(node.url).connection


@pytest.fixture
def policy(node: Node) -> Iterator[Callable[[str], str]]:
    """Set a policy on y_true; it ends with the test."""
    yield lambda definition: node.ctl("set_policy", "test", "^y_true$", definition)
    node.ctl("clear_policy", "test")


def test_what_a_policy_makes_the_broker_drop_is_a_dead_letter(
    client: Client, run: Run, policy: Callable[[str], str]
) -> None:
    metric = run("metric")
    metric.wait_for_log("connected")
    assert metric.terminate() == 0
    policy('{"message-ttl": 100}')
    bodies = {b'{"id":%d,"body":1}' % sample_id for sample_id in range(20)}
    for body in bodies:
        client.publish("y_true", body)
    assert {body for body, _ in client.take("dead_letters", 20)} == bodies


def rejects_more(client: Client) -> bool:
    """Whether y_true is full, with bad messages, which are no rows."""
    try:
        client.publish("y_true", b"bad")
    except pika.exceptions.NackError:
        return True
    return False


def test_a_queue_that_a_policy_limits_takes_the_rest_later(
    client: Client, run: Run, policy: Callable[[str], str], tmp_path: Path
) -> None:
    metric = run("metric")
    metric.wait_for_log("connected")
    assert metric.terminate() == 0
    policy('{"max-length": 10}')
    eventually(lambda: rejects_more(client))
    features = run("features", INTERVAL=0, COUNT=100, DATASET="")
    features.wait_for_log("the broker rejects messages for y_true; trying again every second")
    for name in ("metric", "model"):
        run(name)
    assert features.wait() == 0
    assert features.log.index("the broker takes messages again") > features.log.index("the broker rejects messages")
    eventually(lambda: len(rows(tmp_path / "logs")) == 100)


@pytest.mark.long
def test_a_queue_deleted_and_declared_again_at_once_is_consumed_again(client: Client, run: Run, tmp_path: Path) -> None:
    """RabbitMQ 3.10 does not tell a consumer: metric has to notice that messages wait."""
    metric = run("metric")
    metric.wait_for_log("connected")
    client.delete("y_true")
    client.declare("y_true", **QUORUM)
    pair(client, 1)
    eventually(lambda: rows(tmp_path / "logs") == [(1, 1, 2, 1)], "the row")
    assert metric.terminate() == 0


def test_a_queue_that_another_client_holds_costs_one_line(client: Client, node: Node, run: Run, tmp_path: Path) -> None:
    client.declare("y_true")  # a quorum queue takes no exclusive consumers
    other = Client(node.url)
    other.channel.basic_consume("y_true", lambda *_: None, exclusive=True)
    metric = run("metric")
    metric.wait_for_log("no connection")
    time.sleep(4)
    assert metric.log.count("no connection") == 1
    assert metric.log.count("connected to") <= 1
    other.connection.close()
    pair(client, 1)
    eventually(lambda: rows(tmp_path / "logs") == [(1, 1, 2, 1)])
    assert metric.terminate() == 0


def test_large_messages_are_rejected_one_after_the_other(client: Client, run: Run, tmp_path: Path) -> None:
    """In little memory: 60 bodies of 8 MiB between good pairs."""
    for queue in ("y_true", "y_pred", "dead_letters"):
        client.declare(queue, **QUORUM)
    large = b'{"id": 1, "body": "' + b"x" * (8 * 2**20) + b'"}'
    for sample_id in range(60):
        client.publish("y_true", large)
        pair(client, sample_id)
    metric = run("metric")
    eventually(lambda: len(rows(tmp_path / "logs")) == 60, "the rows")
    eventually(lambda: client.count("dead_letters") >= 60, "the dead letters")
    status = Path(f"/proc/{metric.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 700 * 1024, f"{peak} KiB"
    with contextlib.suppress(pika.exceptions.AMQPError):
        client.channel.queue_purge("dead_letters")


def test_many_bad_messages_cost_few_lines(client: Client, run: Run) -> None:
    metric = run("metric")
    metric.wait_for_log("connected")
    begun = time.monotonic()
    for _ in range(3000):
        client.publish("y_true", b"bad")
    eventually(lambda: client.count("dead_letters") == 3000)
    assert metric.terminate() == 0
    lines = [line for line in metric.log.splitlines() if "rejected a message of y_true" in line]
    assert 1 <= len(lines) <= 2 * (time.monotonic() - begun) + 2
