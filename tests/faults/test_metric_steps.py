"""Guarantee 1: metric, killed with SIGKILL before, in and after each step of its write, makes each row once."""

from __future__ import annotations

from faults.oracle import QUORUM
from harness import DRIVER, SERVICES, Client, Run, eventually

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("step", ["commit", "write", "half-write", "fsync", "acknowledge", "publish"])
def test_metric_killed_at_a_step_of_its_write_makes_each_row_once(
    client: Client, run: Run, tmp_path: Path, step: str
) -> None:
    for queue in ("y_true", "y_pred", "dead_letters"):
        client.declare(queue, **QUORUM)
    expected, rejected, sample_id = ["id,y_true,y_pred,absolute_error"], set(), 0
    for at, after in [(1, 0), (1, 1), (1, 0), (2, 0), (2, 1), (3, 1), (5, 1)]:
        env = {"KILL_STEP": step, "KILL_AT": at, "KILL_AFTER": after, "PYTHONPATH": SERVICES / "metric/src"}
        killed = run("metric", script=DRIVER, **env)
        while killed.process.poll() is None:
            sample_id += 1
            assert sample_id < 5000, f"it never came to {step} {at}"
            bad = b'{"id":%d,"body":"bad"}' % sample_id
            client.publish("y_pred", {"id": sample_id, "body": 2})
            client.publish("y_true", bad)
            client.publish("y_true", {"id": sample_id, "body": 1})
            client.publish("y_true", {"id": sample_id, "body": 1})
            expected.append(f"{sample_id}.0,1.0,2.0,1.0")
            rejected.add(bad)
        assert killed.wait() == -9
    client.publish("y_true", {"id": 0, "body": 1})
    client.publish("y_pred", {"id": 0, "body": 2})
    expected.append("0.0,1.0,2.0,1.0")  # comes after all others
    metric = run("metric")
    path = tmp_path / "logs/metric_log.csv"
    eventually(lambda: "\n0.0," in path.read_text())
    assert metric.terminate() == 0
    assert sorted(path.read_text().splitlines()) == sorted(expected)
    assert path.read_text().endswith("\n")
    letters: set[bytes] = set()

    def all_letters() -> bool:
        while letter := client.get("dead_letters"):
            letters.add(letter[0])
        return letters >= rejected

    eventually(all_letters)
    assert letters == rejected
    assert all(json.loads(letter)["body"] == "bad" for letter in letters)
