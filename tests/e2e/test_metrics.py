"""Prometheus next to the stack: it sees what there is to see, and its rules call for a person."""

from __future__ import annotations

from e2e.stack import BROKER_CONFIG, Stack, get, run
from harness import ROOT, Client, eventually
from local import free_port

import json
import urllib.error
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.engine
PAIRS = 40


@pytest.fixture(scope="module")
def stack(new_stack: Any, generations: dict[str, list[str]], prometheus_image: str) -> Stack:
    """The broker, metric and Prometheus; the other services are the tests themselves."""
    stack: Stack = new_stack(
        min(generations),
        COMPOSE_FILE="docker-compose.yaml:docker-compose.metrics.yaml",
        PROMETHEUS_IMAGE=prometheus_image,
        PROMETHEUS_PORT=str(free_port()),
    )
    stack.compose("build", "metric")
    stack.compose("up", "-d", "metric", "prometheus")
    return stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    client = Client(f"amqp://guest:guest@127.0.0.1:{stack.amqp_port}/%2F")
    yield client
    client.connection.close()


def ask(stack: Stack, what: str, **parameters: str) -> Any:
    """What Prometheus answers; nothing as long as it does not."""
    url = f"http://127.0.0.1:{stack.environment['PROMETHEUS_PORT']}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
    try:
        return json.loads(get(url))["data"]
    except (urllib.error.URLError, ConnectionError):
        return {}


def query(stack: Stack, promql: str) -> list[float]:
    return [float(sample["value"][1]) for sample in ask(stack, "query", query=promql).get("result", [])]


def test_rules_fire_when_they_should_and_only_then(prometheus_image: str) -> None:
    files = [word for folder in ("rabbitmq", "tests/e2e") for word in ("-v", f"{ROOT / folder}:/{folder}:ro")]
    command = ["docker", "run", "--rm", "--entrypoint", "promtool", *files, prometheus_image]
    run(*command, "check", "config", "/rabbitmq/prometheus.yml")
    run(*command, "test", "rules", "/tests/e2e/alerts_test.yml")


def test_it_sees_the_queues_and_the_rows(stack: Stack, client: Client) -> None:
    def up() -> list[str]:
        targets = ask(stack, "targets").get("activeTargets", [])
        return sorted(target["labels"]["job"] for target in targets if target["health"] == "up")

    eventually(lambda: up() == ["metric", "queues", "rabbitmq"], "three targets up")
    client.declare("features", **{"x-queue-type": "quorum"})
    for sample_id in range(PAIRS):
        client.publish("y_true", {"id": sample_id, "body": sample_id})
        client.publish("y_pred", {"id": sample_id, "body": 0.5})
    for sample_id in range(7):
        client.publish("features", {"id": sample_id, "body": [0.5] * 10})  # which nobody takes
    client.publish("y_true", {"id": PAIRS, "body": 1})  # of which there is no other half

    eventually(lambda: len(stack.rows()) == PAIRS, "the rows")
    arrived = 'sum(rabbitmq_detailed_queue_exchange_messages_published_total{queue="y_true"})'
    for promql, figure in {
        "metric_rows_total": PAIRS,
        "metric_absolute_error_count": PAIRS,
        "metric_absolute_error_sum": sum(error for *_, error in stack.rows()),
        "metric_halves_waiting": 1,
        'queue:messages{queue="features"}': 7,
        arrived: PAIRS + 1,
        "sum(rabbitmq_global_messages_acknowledged_total)": 2 * PAIRS + 1,
    }.items():
        eventually(lambda promql=promql, figure=figure: query(stack, promql) == [figure], promql)  # type: ignore[misc]


def test_a_rejected_message_calls_for_a_person(stack: Stack, client: Client) -> None:
    def alerts(state: str) -> list[dict[str, Any]]:
        return [
            alert
            for alert in ask(stack, "alerts").get("alerts", [])
            if alert["labels"]["alertname"] == "DeadLettersRising" and alert["state"] == state
        ]

    eventually(lambda: query(stack, 'queue:messages{queue="dead_letters"}') == [0], "no dead letters")
    assert not alerts("firing")
    for body in b"no JSON", b'{"id": 1}':
        client.publish("y_true", body)
    (alert,) = eventually(lambda: alerts("firing"), "the alert")
    assert alert["labels"] == {"alertname": "DeadLettersRising", "queue": "dead_letters", "vhost": "/"}
    assert alert["annotations"]["summary"] == "2 messages were rejected in the last 5 minutes (virtual host /)"


def test_every_rule_is_sound_and_says_what_to_do(stack: Stack) -> None:
    groups = eventually(lambda: ask(stack, "rules").get("groups"), "the rules")
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert all(rule["health"] == "ok" for rule in rules.values()), rules
    alerts = {name: rule for name, rule in rules.items() if rule["type"] == "alerting"}
    assert set(alerts) == {"NoRows", "DeadLettersRising", "QueueGrowing", "ErrorShifting"}
    assert all(set(rule["annotations"]) == {"summary", "description"} for rule in alerts.values())


def test_it_is_unprivileged_read_only_and_bounded(stack: Stack) -> None:
    files = ["/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"]
    stack.check_hardening("prometheus", "65534:65534", published=1, bound=files)
    assert all(not mount["RW"] for mount in stack.inspect("prometheus")["Mounts"] if mount["Type"] == "bind")
    stack.check_hardening("rabbitmq", "rabbitmq", published=2, bound=[BROKER_CONFIG])
    stack.check_hardening("metric", "10001:10001", bound=["/logs"])
