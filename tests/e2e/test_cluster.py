"""Three brokers instead of one, as docker-compose.cluster.yaml sets them up: they join the one, and each is killed."""

from __future__ import annotations

from e2e.stack import BROKER_CONFIG, SERVICES, Stack, get, run
from faults.oracle import Oracle, dataset, table
from harness import QUEUES, Client, eventually, whole_lines

import json
import pickle
import secrets
from typing import Any

import numpy as np
import pika
import pytest
from pika.exceptions import ProbableAuthenticationError
from sklearn.linear_model import LinearRegression

pytestmark = pytest.mark.engine

NODES = ("rabbitmq", "rabbitmq2", "rabbitmq3")
USER, PASSWORD = "clinic", secrets.token_hex(8)


@pytest.fixture(scope="module")
def cluster(new_stack: Any, generations: dict[str, list[str]]) -> Stack:
    """A running stack with credentials of its own, and a model that answers the sum of three numbers.

    It has run with a single broker before.
    """
    stack: Stack = new_stack(
        max(generations),
        RABBITMQ_COOKIE=secrets.token_hex(),
        RABBITMQ_USER=USER,
        RABBITMQ_PASSWORD=PASSWORD,
        DATASET="features/src/dataset.csv",
        MODEL_PATH="model/src/sum.pkl",
    )
    stack.environment["INTERVAL"] = "0.02"
    dataset(stack.folder / "features/src/dataset.csv")
    model = LinearRegression()
    model.coef_, model.intercept_, model.n_features_in_ = np.ones(3), 0.0, 3
    (stack.folder / "model/src/sum.pkl").write_bytes(pickle.dumps(model))
    stack.compose("up", "-d", "--build")
    eventually(stack.rows, "the first row")
    stack.environment["COMPOSE_FILE"] = "docker-compose.yaml:docker-compose.cluster.yaml"
    stack.compose("up", "-d")
    stack.wait_for_another_row()
    eventually(lambda: complete(stack), "three members of each queue")
    return stack


def url(stack: Stack, node: str) -> str:
    """By the node's own address, since only the first is published."""
    networks = stack.inspect(node)["NetworkSettings"]["Networks"].values()
    return f"amqp://{USER}:{PASSWORD}@{next(iter(networks))['IPAddress']}:5672/%2F"


def complete(stack: Stack) -> bool:
    """Whether each queue has a member on each node, and all are there."""
    try:
        queues = json.loads(get(f"http://127.0.0.1:{stack.management_port}/api/queues", USER, PASSWORD))
    except OSError:
        return False
    online = {queue["name"]: queue.get("online", []) for queue in queues}
    return all(len(online.get(name, [])) == len(NODES) for name in QUEUES)


def test_each_node_is_killed_under_load(cluster: Stack) -> None:
    addresses = {node: url(cluster, node) for node in NODES}
    oracle = Oracle(",".join(addresses.values()), seed=1, publishers=4, contradict=False)
    for node in NODES:
        run("docker", "kill", cluster.container(node))
        n = len(cluster.rows())
        eventually(lambda n=n: len(cluster.rows()) > n + 1000, f"rows without {node}")  # type: ignore[misc]
        run("docker", "start", cluster.container(node))
        eventually(lambda: complete(cluster), f"three members again, after {node}")
    oracle.stop()
    cluster.compose("stop", "features")

    csv = cluster.logs / "metric_log.csv"
    eventually(lambda: not oracle.rows(whole_lines(csv))[0].lost, "all rows")
    cluster.environment["PENDING_TTL"] = "0.001"  # what still waits has no other half
    cluster.compose("up", "-d", "metric")
    client = Client(addresses["rabbitmq"])
    letters = client.drain("dead_letters")
    assert [client.count(queue) for queue in QUEUES] == [0, 0, 0, 0]
    cluster.compose("stop", "model", "metric")

    rows, of_features = oracle.rows(csv.read_text())
    dead, _ = oracle.dead_letters(letters)
    print(f"\n{table(rows, dead)}\nand {of_features:,} rows of features")
    assert not rows.lost
    assert not rows.duplicated
    assert not rows.unexpected
    assert not dead.lost
    assert not dead.unexpected
    cluster.compose("up", "-d")
    cluster.wait_for_another_row()


def test_the_services_say_it_in_one_line_each(cluster: Stack) -> None:
    for service in ("features", "model", "metric"):
        output = run("docker", "logs", cluster.container(service))
        assert "Traceback" not in output
        lost = [line for line in output.splitlines() if "no connection" in line]
        assert len(lost) <= len(NODES), output


def test_every_container_is_hardened(cluster: Stack) -> None:
    for node in NODES:
        published = 2 if node == "rabbitmq" else 0
        configs = [BROKER_CONFIG, "/etc/rabbitmq/conf.d/20-cluster.conf"]
        if node != "rabbitmq":
            configs.append("/etc/rabbitmq/conf.d/25-join.conf")
        cluster.check_hardening(node, "rabbitmq", published, configs)
    for service in SERVICES:
        cluster.check_hardening(service, "10001:10001", bound=["/logs"] if service in ("metric", "plot") else [])


def test_there_is_no_guest(cluster: Stack) -> None:
    for node in NODES:
        for password in "guest", PASSWORD:
            with pytest.raises(ProbableAuthenticationError):
                pika.BlockingConnection(
                    pika.URLParameters(url(cluster, node).replace(f"{USER}:{PASSWORD}", f"guest:{password}"))
                )


def test_no_password_is_shown(cluster: Stack) -> None:
    cluster.check_secrecy([PASSWORD, cluster.environment["RABBITMQ_COOKIE"]])
