"""A challenger and the history next to the stack, as docker-compose.challenger.yaml and .history.yaml add them."""

from __future__ import annotations

from e2e.stack import Stack, run
from harness import ROOT, Client, eventually, rows

import pickle
import re
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from sklearn.dummy import DummyRegressor

pytestmark = pytest.mark.engine
OWN = ("challenger-model", "challenger-metric", "challenger-plot")
ONCE = ("challenger-definitions", "history-definitions")


@pytest.fixture(scope="module")
def stack(new_stack: Any, generations: dict[str, list[str]]) -> Stack:
    """A running stack whose challenger always answers 150."""
    stack: Stack = new_stack(
        min(generations),
        COMPOSE_FILE=":".join(f"docker-compose{option}.yaml" for option in ("", ".challenger", ".history")),
        CHALLENGER_MODEL_PATH="model/src/challenger.pkl",
    )
    stack.environment["INTERVAL"] = "0.02"
    model = DummyRegressor(strategy="constant", constant=150.0).fit([[0.0] * 10], [150.0])
    (stack.folder / "model/src/challenger.pkl").write_bytes(pickle.dumps(model))
    stack.compose("up", "-d", "--build")
    eventually(lambda: challengers(stack), "the first row of the challenger")
    time.sleep(5)  # RabbitMQ never finds a quorum queue again that is killed within a second of its declaration
    return stack


def url(stack: Stack, vhost: str = "%2F") -> str:
    return f"amqp://guest:guest@127.0.0.1:{stack.amqp_port}/{vhost}"


def challengers(stack: Stack) -> list[tuple[float, float, float, float]]:
    return rows(stack.logs / "challenger")


def test_both_models_get_every_sample_whatever_is_killed(stack: Stack) -> None:
    for victim in ("rabbitmq", *OWN[:2], "rabbitmq"):
        run("docker", "kill", stack.container(victim))
        run("docker", "start", stack.container(victim))
        n = len(challengers(stack))
        eventually(lambda n=n: len(challengers(stack)) > n + 100, f"rows without {victim}")  # type: ignore[misc]
    stack.compose("stop", "features")
    client = Client(url(stack))
    eventually(lambda: sum(map(client.count, ("features", "y_true", "y_pred"))) == 0, "the champion's last row")
    eventually(lambda: len(challengers(stack)) == len(stack.rows()), "the challenger's last row")
    first, second = stack.rows(), challengers(stack)
    assert {row[:2] for row in first} == {row[:2] for row in second}  # ids and labels
    assert len({sample_id for sample_id, *_ in first}) == len(first)
    assert {y_pred for _, _, y_pred, _ in second} == {150.0}
    client.connection.close()
    stack.compose("start", "features")


def test_its_containers_are_hardened(stack: Stack) -> None:
    for service in OWN:
        bound = [] if service == "challenger-model" else ["/logs"]
        stack.check_hardening(service, "10001:10001", bound=bound)
    for service in ONCE:
        container = stack.inspect(service)
        assert (container["State"]["Status"], container["State"]["ExitCode"]) == ("exited", 0)
        assert (container["Config"]["User"], container["HostConfig"]["CapDrop"]) == ("rabbitmq", ["ALL"])


def test_the_owner_of_logs_owns_the_folder(stack: Stack) -> None:
    assert (stack.logs / "challenger").stat().st_uid == stack.logs.stat().st_uid


def test_what_is_there_stays_when_it_is_started_again(stack: Stack) -> None:
    n = len(challengers(stack))
    stack.compose("up", "-d", "--force-recreate", *ONCE)
    eventually(lambda: len(challengers(stack)) > n, "another row")
    for service in ONCE:
        eventually(lambda service=service: stack.inspect(service)["State"]["Status"] == "exited", service)  # type: ignore[misc]
        assert stack.inspect(service)["State"]["ExitCode"] == 0


def around_outages(ids: list[float]) -> int:
    """How many samples came just before or after a pause: RabbitMQ 4.0 may have kept them out of its stream."""
    pauses = [(a, b) for a, b in pairwise(sorted(ids)) if b - a > 1]
    return sum(any(a - 2 < sample_id < b + 2 for a, b in pauses) for sample_id in ids)


def test_the_past_comes_again_and_makes_no_second_row(stack: Stack) -> None:
    stack.compose("stop", "features")
    client = Client(url(stack, "challenger"))
    eventually(lambda: len(challengers(stack)) == len(stack.rows()), "the challenger's last row")
    n = len(challengers(stack))
    certain = n - around_outages([sample_id for sample_id, *_ in stack.rows()])
    assert certain > 100
    replay = [sys.executable, "-m", "tools.replay", "--broker", url(stack), "--to", url(stack, "challenger")]
    published = re.findall(r"([\d,]+) messages published", run(*replay, cwd=ROOT))[-1]
    print(f"{n} rows, {certain} of them at times when the stream was there; {published} messages published")
    assert int(published.replace(",", "")) >= 2 * certain
    eventually(lambda: sum(map(client.count, ("features", "y_true", "y_pred"))) == 0, "the end of the work")
    stack.compose("start", "features")
    eventually(lambda: len(challengers(stack)) > n, "another row")
    ids = [sample_id for sample_id, *_ in challengers(stack)]
    assert len(set(ids)) == len(ids)
    client.connection.close()


def test_a_dead_challenger_holds_nothing_up(stack: Stack) -> None:
    for vhost, pattern in ("/", "^challenger"), ("challenger", "^(features|y_true)$"):
        policy = ["set_policy", "--vhost", vhost, "limit", pattern, '{"max-length": 50}']
        run("docker", "exec", stack.container("rabbitmq"), "rabbitmqctl", *policy)
    stack.compose("stop", *OWN[:2])
    n = len(stack.rows())
    eventually(lambda: len(stack.rows()) > n + 200, "rows of the champion")
    own, copies = Client(url(stack, "challenger")), Client(url(stack))
    eventually(lambda: all(own.count(queue) >= 50 for queue in ("features", "y_true")), "full queues")
    assert all(copies.count(f"challenger.{queue}") <= 50 for queue in ("features", "y_true"))
    own.connection.close()
    copies.connection.close()
