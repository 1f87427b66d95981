"""make compare and make groups on what the pipeline itself has written."""

from __future__ import annotations

from harness import ROOT, Client, Run, eventually, rows, shell, snippet

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]


def make(target: str, folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the command of a target of the Makefile."""
    (command,) = re.findall(rf"^{target}:.*\n\t@\.venv/bin/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | {k: str(v) for k, v in settings.items()}
    return subprocess.run(
        [sys.executable, *command.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def shown(start: str) -> str:
    """The output in docs/analysis.md that starts like this."""
    (block,) = re.findall(rf"^```text\n({start}.*?)^```", (ROOT / "docs/analysis.md").read_text(), re.M | re.S)
    return block


def stream(run: Run, n: int, **settings: object) -> None:
    """Publish n samples as fast as possible."""
    assert run("features", INTERVAL=0, COUNT=n, **settings).wait() == 0


def evaluate(run: Run, logs: Path, n: int, **settings: object) -> None:
    """Let a model answer what waits in the queues, until its log has n rows."""
    services = [run(name, LOGS_DIR=logs, **settings) for name in ("model", "metric")]
    eventually(lambda: len(rows(logs)) == n, f"{n} rows")
    assert [service.terminate() for service in services] == [0, 0]


def test_every_row_of_the_log_leads_to_its_group(client: Client, run: Run, tmp_path: Path) -> None:
    """As docs/analysis.md shows, to the last digit: all 111 patients are drawn, and each counts once."""
    stream(run, 2000)
    evaluate(run, tmp_path / "logs", 2000)
    done = make("groups", tmp_path, BY="sex")
    assert (done.stderr, done.stdout) == ("", shown("5,000 rows of the log").replace("5,000", "2,000"))
    assert (tmp_path / "logs/groups.png").exists()

    wrong = make("groups", tmp_path, BY="sex", TARGET="bmi")
    assert wrong.returncode == 2
    (line,) = wrong.stderr.splitlines()
    assert "the labels of 2,000 of 2,000 rows of the log are not those of the rows that their ids lead to" in line


def test_a_log_that_was_drawn_with_a_seed_is_rejected(client: Client, run: Run, tmp_path: Path) -> None:
    stream(run, 200, SEED=5)
    evaluate(run, tmp_path / "logs", 200)
    done = make("groups", tmp_path, BY="sex")
    assert (done.returncode, done.stdout) == (2, "")
    assert "features, which must have no SEED" in done.stderr


def test_two_models_that_got_the_same_samples_are_compared(client: Client, run: Run, tmp_path: Path) -> None:
    """As docs/analysis.md shows: the bundled model, and the forest of docs/challenger.md."""
    stream(run, 2000)
    samples = [(queue, body) for queue in ("features", "y_true") for body, _ in client.take(queue, 2000)]
    train, _ = snippet("challenger.md", "forest.py", "sh").split("export ")
    shell(train, tmp_path)
    challenger: dict[str, object] = {"MODEL_PATH": tmp_path / "mine/challenger.pkl"}
    settings = {"logs": dict[str, object](), "logs/challenger": challenger}
    channel = client.connection.channel()  # without confirms: they would take most of the time
    for folder, model in settings.items():
        for queue, body in samples:
            channel.basic_publish("", queue, body)
        evaluate(run, tmp_path / folder, 2000, **model)
    done = make("compare", tmp_path)
    assert (done.stderr, done.stdout) == ("", shown("5,000 pairs").replace("5,000", "2,000"))
    assert (tmp_path / "logs/compare.png").exists()
