"""make compare and make groups on what the pipeline itself has written."""

from __future__ import annotations

from harness import ROOT, Client, Run, eventually, rows

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.dummy import DummyRegressor

pytestmark = pytest.mark.broker


def make(target: str, folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the command of a target of the Makefile."""
    (command,) = re.findall(rf"^{target}:.*\n\t@\.venv/bin/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | {k: str(v) for k, v in settings.items()}
    return subprocess.run(
        [sys.executable, *command.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def stream(run: Run, logs: Path, n: int, **settings: object) -> None:
    """Stream n samples through the pipeline, then end its model and metric."""
    services = [run(name, LOGS_DIR=logs, **settings) for name in ("model", "metric")]
    for service in services:
        service.wait_for_log("connected")
    assert run("features", INTERVAL=0, COUNT=n, **settings).wait() == 0
    eventually(lambda: len(rows(logs)) == n, f"{n} rows")
    assert [service.terminate() for service in services] == [0, 0]


def test_every_row_of_the_log_leads_to_its_group(client: Client, run: Run, tmp_path: Path) -> None:
    """The figures of docs/analysis.md: all 111 patients were drawn, and each counts once."""
    stream(run, tmp_path / "logs", 3000)
    done = make("groups", tmp_path, BY="sex")
    assert done.stderr == ""
    shown = (ROOT / "docs/analysis.md").read_text()
    (expected,) = re.findall(r"```text\n(\S+ rows of the log, .*?)```", shown, re.DOTALL)
    assert done.stdout.replace("3,000 rows", "5,000 rows") == expected
    assert (tmp_path / "logs/groups.png").exists()

    wrong = make("groups", tmp_path, BY="sex", TARGET="bmi")
    assert wrong.returncode == 2
    (line,) = wrong.stderr.splitlines()
    assert "the labels of 3,000 of 3,000 rows of the log are not those of the rows that their ids lead to" in line


def test_a_log_that_was_drawn_with_a_seed_is_refused(client: Client, run: Run, tmp_path: Path) -> None:
    stream(run, tmp_path / "logs", 200, SEED=5)
    done = make("groups", tmp_path, BY="sex")
    assert (done.returncode, done.stdout) == (2, "")
    assert "features, which must have no SEED" in done.stderr


def test_the_bundled_model_is_compared_with_the_mean(client: Client, run: Run, tmp_path: Path) -> None:
    """Both models get the same vectors under the same ids; the second one's labels are those of the first log."""
    stream(run, tmp_path / "logs", 1000)
    mean = DummyRegressor(strategy="constant", constant=152.0).fit([[0.0] * 10], [0.0])
    (tmp_path / "mean.pkl").write_bytes(pickle.dumps(mean))
    run("metric", LOGS_DIR=tmp_path / "logs/challenger").wait_for_log("connected")
    run("model", MODEL_PATH=tmp_path / "mean.pkl").wait_for_log("connected")
    for id, y_true, *_ in rows(tmp_path / "logs"):
        client.publish("features", {"id": id, "body": [0.0] * 10})
        client.publish("y_true", {"id": id, "body": y_true})
    eventually(lambda: len(rows(tmp_path / "logs/challenger")) == 1000)
    done = make("compare", tmp_path)
    assert done.stderr == ""
    assert "1,000 pairs of 111 samples (rows of the dataset)" in done.stdout
    assert "The model of logs is better." in done.stdout
    assert (tmp_path / "logs/compare.png").exists()
