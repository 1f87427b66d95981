"""`make local`: the pipeline as processes around a broker of its own."""

from __future__ import annotations

from e2e.stack import copy_of_the_tree
from harness import DEADLINE, eventually, rows
from local import Node, free_port
from local.__main__ import keep_broker, keep_running, relay
from local.node import speaks_amqp

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]
COMMAND = [sys.executable, "-m", "local"]


def processes(folder: Path) -> dict[int, str]:
    """The processes that work below a folder: their ids and command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found[int(process.name)] = (process / "cmdline").read_text()
        except OSError:
            pass  # ended meanwhile, or not ours to see
    return found


@contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """`make local` in a folder, until Ctrl-C, after which nothing is left of it."""
    log = folder / "log"
    with log.open("w") as output:
        local = subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:  # also of a test that fails: a broker that stays would disturb others
        local.send_signal(signal.SIGINT)
        code = local.wait(30)
    assert code == 0
    assert "Traceback" not in log.read_text()
    assert not processes(folder)


def test_a_folder_that_was_moved_is_one_line(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    (tmp_path / ".local/broker").mkdir(parents=True)
    (tmp_path / ".local/place").write_text("/before/.local")
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("make local: the broker's data were made in /before/.local, and RabbitMQ does not")
    assert done.stderr.endswith(f"rm -r {tmp_path}/.local/broker\n")


def test_it_runs_restarts_and_ends_cleanly(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    logs = tmp_path / "logs"
    environment = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ} | {"INTERVAL": "0.5"}
    with running(tmp_path, environment):
        eventually(lambda: rows(logs), "the first row")
        eventually((logs / "error_distribution.png").exists, "a picture")

        for victim in "model/src/model.py", "beam.smp":
            pid = min(pid for pid, command_line in processes(tmp_path).items() if victim in command_line)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: pid not in processes(tmp_path), f"the end of {victim}")  # type: ignore[misc]
            eventually(lambda victim=victim: victim in str(processes(tmp_path)), f"a new {victim}")  # type: ignore[misc]
            n = len(rows(logs))
            eventually(lambda n=n: len(rows(logs)) > n + 2, "rows after a kill")  # type: ignore[misc]

        broker = re.search(r"broker +amqp://.*:(\d+)/", (tmp_path / "log").read_text())
        assert broker
        doctor = subprocess.run(
            "local/doctor.sh",
            cwd=tmp_path,
            env=environment | {"AMQP_PORT": broker[1]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"Port {broker[1]} " in doctor.stdout
        assert "taken by make local in this folder (AMQP_PORT)" in doctor.stdout

        second = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert second.stderr == "make local: is already running in this folder\n"


def test_a_broker_whose_files_cannot_be_written_is_started_as_soon_as_they_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "broker"
    folder.write_text("in the way")
    broker = Node(folder)

    async def kept() -> None:
        keeping = asyncio.create_task(keep_broker(broker))
        await asyncio.sleep(3)  # two tries
        folder.unlink()
        async with asyncio.timeout(DEADLINE):
            while not speaks_amqp(broker.port):
                await asyncio.sleep(0.1)
        keeping.cancel()

    try:
        asyncio.run(kept())
        assert "rabbitmq | [Errno 17] File exists" in capsys.readouterr().out
    finally:
        broker.stop()


def test_a_service_that_cannot_be_started_is_tried_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    async def tried() -> None:
        async with asyncio.timeout(4):
            await keep_running("model", {})

    with pytest.raises(TimeoutError):
        asyncio.run(tried())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert lines[0].startswith("model    | does not start: [Errno 2]")


def test_a_service_that_writes_without_the_end_of_a_line_is_relayed(capsys: pytest.CaptureFixture[str]) -> None:
    """As a progress bar does: more than asyncio reads at once."""
    program = "print('.' * 1_000_000, end='\\r', flush=True); print('\\nwell')"

    async def relayed() -> int | None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
        await relay("model", process)
        return process.returncode

    assert asyncio.run(relayed()) == 0
    assert capsys.readouterr().out.endswith("model    | well\n")


def test_a_challenger_and_the_history(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    logs = tmp_path / "logs"
    environment = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
    environment |= {"INTERVAL": "0.1", "OPTIONS": "challenger,history"}
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "make local: OPTIONS=challenger needs CHALLENGER_MODEL_PATH, the second trained model\n"
    environment |= {"CHALLENGER_MODEL_PATH": "model/src/myfile.pkl", "METRICS_PORT": str(free_port())}
    with running(tmp_path, environment):
        eventually(lambda: set(rows(logs)) & set(rows(logs / "challenger")), "rows that both models have")
        page = urllib.request.urlopen(f"http://127.0.0.1:{environment['METRICS_PORT']}/metrics").read().decode()
        assert "metric_rows_total" in page
    assert "ended with exit code" not in (tmp_path / "log").read_text()


def test_it_ends_when_its_terminal_is_closed(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    environment = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
    terminal, end = os.openpty()
    local = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
    )
    os.close(end)
    shown = ""
    while "Ctrl-C stops everything" not in shown:
        shown += os.read(terminal, 1000).decode()
    os.close(terminal)
    local.send_signal(signal.SIGHUP)
    local.wait(DEADLINE)  # its exit code says only that the last lines could not be shown
    assert not processes(tmp_path)
