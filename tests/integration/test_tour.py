"""The tour in docs/ goes as it says: its commands are run in order, and print what it prints."""

from __future__ import annotations

from e2e.stack import copy_of_the_tree
from harness import ROOT, eventually, rows, unavailable

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]
SECTIONS = re.split(r"^## ", (ROOT / "docs/tour.md").read_text(), flags=re.MULTILINE)
LOCAL = "make local"


def blocks(section: str, language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


def test_the_tour(tmp_path: Path) -> None:
    if not shutil.which("fuser"):
        unavailable("no fuser here: install psmisc")
    copy_of_the_tree(tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    log, environment = tmp_path / "tour/local.log", {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
    environment |= {"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}

    def shell(text: str) -> str:
        text = text.replace("localhost:5672", address())
        done = subprocess.run(
            ["bash", "-u"],
            input=text,
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def address() -> str:
        found = re.search(r"\| broker +amqp://guest:guest@(\S+)/%2F", log.read_text() if log.exists() else "")
        return found[1] if found else "localhost:5672"

    (set_up,) = (section for section in SECTIONS if LOCAL in blocks(section, "sh"))
    *before, start = blocks(set_up, "sh").strip().split("\n")
    assert LOCAL in start
    shell("\n".join(before))
    start = start.replace(LOCAL, f"{sys.executable} -m local")
    local = subprocess.Popen(
        ["bash", "-c", start], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        eventually(lambda: rows(tmp_path / "tour"), "the first row")
        exercises = [section for section in SECTIONS if re.match(r"\d\. ", section)]
        assert len(exercises) == 5
        for exercise in exercises:
            printed = shell(blocks(exercise, "sh"))
            pattern = re.escape(blocks(exercise, "text")).replace("…", r"\S+")
            assert re.fullmatch(pattern, printed), f"{exercise.splitlines()[0]}:\n{printed}\n{log.read_text()}"
    finally:
        os.killpg(local.pid, signal.SIGINT)
        assert local.wait(30) == 0
    assert "Traceback" not in log.read_text()
