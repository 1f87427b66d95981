"""Guarantee 2 in time: a half that waits too long, a label that comes late, a clock that goes back."""

from __future__ import annotations

from harness import DRIVER, SERVICES, Client, Clock, Run, Service, eventually, rows

import itertools
import json
import time
from itertools import pairwise
from pathlib import Path

import pika.exceptions
import pytest

pytestmark = pytest.mark.broker


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def stopwatch(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "stopwatch")


def settled(client: Client, logs: Path, sample_id: float) -> None:
    """Return when metric has settled all that was published before: the queues keep the order."""
    client.publish("y_true", {"id": sample_id, "body": 0})
    client.publish("y_pred", {"id": sample_id, "body": 0})
    eventually(lambda: (sample_id, 0, 0, 0) in rows(logs))


def full(client: Client) -> int:
    """Fill the dead letters; return with how many."""
    for n in itertools.count():
        try:
            client.publish("dead_letters", b"full")
        except pika.exceptions.NackError:
            return n
    raise AssertionError


def start(run: Run, name: str, *, clock: Clock | None = None, stopwatch: Clock | None = None, **env: object) -> Service:
    clocks = {"CLOCK": clock.path if clock else "", "STOPWATCH": stopwatch.path if stopwatch else ""}
    service = run(name, script=DRIVER, SERVICE=name, PYTHONPATH=SERVICES / name / "src", **clocks, **env)
    service.wait_for_log("connected")
    return service


def test_a_half_that_waits_too_long_comes_out_with_its_own_bytes(
    client: Client, run: Run, stopwatch: Clock, tmp_path: Path
) -> None:
    start(run, "metric", stopwatch=stopwatch, PENDING_TTL=3600)
    never = [b'{"body":%d.50,"id":%d, "unit":"\\u00b5mol"}' % (sample_id, sample_id) for sample_id in range(250)]
    for i, body in enumerate(never):
        client.publish("y_true" if i % 2 else "y_pred", body)
    settled(client, tmp_path / "logs", 1000)
    stopwatch.set(3500)
    client.publish("y_pred", b'{"id":1001,"body":1}')
    settled(client, tmp_path / "logs", 1002)
    assert client.count("dead_letters") == 0
    stopwatch.set(3700)
    letters = client.take("dead_letters", 250)
    assert sorted(body for body, _ in letters) == sorted(never)
    for body, headers in letters:
        assert headers["service"] == "metric"
        assert headers["queue"] == ("y_true" if json.loads(body)["id"] % 2 else "y_pred")
        assert "3600 s" in headers["reason"]
    assert client.count("dead_letters") == 0


@pytest.mark.parametrize("jump", [366 * 86400, -3650 * 86400], ids=["a year ahead", "ten years back"])
def test_a_wall_clock_that_jumps_expires_nothing_and_stops_no_expiry(
    client: Client, run: Run, clock: Clock, stopwatch: Clock, tmp_path: Path, jump: int
) -> None:
    """Values that came before the jump and after it expire when they have waited, and not before."""
    start(run, "metric", clock=clock, stopwatch=stopwatch, PENDING_TTL=3600)
    client.publish("y_true", {"id": 1, "body": 1})
    settled(client, tmp_path / "logs", 1000)
    clock.set(jump)
    client.publish("y_true", {"id": 2, "body": 1})
    settled(client, tmp_path / "logs", 1001)
    clock.set(0)
    client.publish("y_true", {"id": 3, "body": 1})
    settled(client, tmp_path / "logs", 1002)
    time.sleep(1.2)  # more than two looks at what has expired
    assert client.count("dead_letters") == 0
    client.publish("y_pred", {"id": 2, "body": 2})
    eventually(lambda: (2.0, 1.0, 2.0, 1.0) in rows(tmp_path / "logs"))
    stopwatch.set(3700)
    letters = client.take("dead_letters", 2)
    assert [json.loads(body)["id"] for body, _ in letters] == [1, 3]


@pytest.mark.parametrize("jump", [0, 366 * 86400], ids=["as before", "a year ahead"])
def test_a_half_waits_on_across_a_restart_whatever_the_clock_does(
    client: Client, run: Run, clock: Clock, stopwatch: Clock, tmp_path: Path, jump: int
) -> None:
    metric = start(run, "metric", clock=clock, stopwatch=stopwatch, PENDING_TTL=3600)
    client.publish("y_true", {"id": 1, "body": 1})
    settled(client, tmp_path / "logs", 1000)
    stopwatch.set(2000)
    settled(client, tmp_path / "logs", 1001)
    metric.kill()
    clock.set(jump)
    start(run, "metric", clock=clock, stopwatch=stopwatch, PENDING_TTL=3600)
    time.sleep(1.2)  # more than two looks at what has expired
    assert client.count("dead_letters") == 0
    stopwatch.set(2000 + 1700)  # 3,700 in all
    ((body, _),) = client.take("dead_letters", 1)
    assert json.loads(body)["id"] == 1


def test_a_label_an_hour_late_makes_its_row(client: Client, run: Run, stopwatch: Clock, tmp_path: Path) -> None:
    start(run, "metric", stopwatch=stopwatch)
    client.publish("y_pred", {"id": 1, "body": 1})
    settled(client, tmp_path / "logs", 0)
    stopwatch.set(3600)
    client.publish("y_true", {"id": 1, "body": 3})
    eventually(lambda: rows(tmp_path / "logs")[1:] == [(1.0, 3.0, 1.0, 2.0)])
    assert client.count("dead_letters") == 0


def expiring(client: Client, run: Run, stopwatch: Clock, logs: Path) -> tuple[int, Service]:
    """Let a half expire while the dead letters are full: how many these are, and metric."""
    client.declare("dead_letters", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    fill = full(client)
    metric = start(run, "metric", stopwatch=stopwatch, PENDING_TTL=3600)
    client.publish("y_true", {"id": 1, "body": 1})
    settled(client, logs, 0)
    stopwatch.set(3700)
    return fill, metric


def test_a_half_that_comes_while_another_expires_is_kept(
    client: Client, run: Run, stopwatch: Clock, tmp_path: Path
) -> None:
    """The expired half, still on its way to the dead letters, is joined after all; a new one waits in its place."""
    fill, metric = expiring(client, run, stopwatch, tmp_path / "logs")
    metric.wait_for_log("did not come within")
    client.publish("y_pred", {"id": 1, "body": 2})
    eventually(lambda: len(rows(tmp_path / "logs")) == 2)
    client.publish("y_true", {"id": 2, "body": 1})
    client.take("dead_letters", fill + 1)  # there is room again
    settled(client, tmp_path / "logs", 3)
    client.publish("y_true", b"rejected, so that a round of expiry has passed")
    client.take("dead_letters", 1)
    client.publish("y_pred", {"id": 2, "body": 2})
    settled(client, tmp_path / "logs", 4)
    assert (2.0, 1.0, 2.0, 1.0) in rows(tmp_path / "logs")


def test_an_expired_half_is_kept_until_it_is_safe(client: Client, run: Run, stopwatch: Clock, tmp_path: Path) -> None:
    """Among dead letters that are full, while metric is killed."""
    fill, metric = expiring(client, run, stopwatch, tmp_path / "logs")
    metric.wait_for_log("the broker rejects messages")
    metric.kill()
    client.take("dead_letters", fill)
    start(run, "metric", stopwatch=stopwatch, PENDING_TTL=3600)
    stopwatch.set(2 * 3700)  # the time before the kill is known up to the last value that came
    ((body, _),) = client.take("dead_letters", 1)
    assert json.loads(body) == {"id": 1, "body": 1}


def test_ids_increase_while_the_clock_steps_back(client: Client, run: Run, clock: Clock) -> None:
    features = start(run, "features", clock=clock, INTERVAL=0.001)
    for step in (-3600, 7200, -7200, 0):
        n = client.count("y_true")
        eventually(lambda n=n: client.count("y_true") > n + 20)  # type: ignore[misc]
        clock.set(step)
    n = client.count("y_true")
    eventually(lambda: client.count("y_true") > n + 20)
    assert features.terminate() == 0
    ids = [json.loads(body)["id"] for body, _ in client.take("y_true", client.count("y_true"))]
    assert all(a < b for a, b in pairwise(ids))
    assert len(ids) > 100
