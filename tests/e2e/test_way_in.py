"""The first minutes: a taken port, a Windows checkout, a folder of somebody else, and what `make doctor` shows."""

from __future__ import annotations

from e2e.stack import ORDINARY_USER, Stack, copy_of_the_tree, run
from harness import ROOT, unavailable
from local import Node
from local.node import speaks_amqp

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

CONTAINER_USER = 10001


@pytest.mark.engine
@pytest.mark.parametrize("names", [["MANAGEMENT_PORT"], ["AMQP_PORT", "MANAGEMENT_PORT"]], ids=["one", "two"])
def test_taken_ports_are_named_before_anything_starts(
    new_stack: Any, generations: dict[str, list[str]], names: list[str]
) -> None:
    stack: Stack = new_stack(min(generations))
    ports = [int(stack.environment[name]) for name in names]
    with ExitStack() as taken:
        for port in ports:
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        done = subprocess.run(
            ["make", "up"], cwd=stack.folder, env=stack.environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    choice = " ".join(rf"{name}=\d+" for name in names)
    for port, line in zip(ports, lines[: len(ports)], strict=True):
        assert re.fullmatch(
            rf"Port {port} is taken by another program. End that, or choose another port: {choice} make up", line
        )
    assert all(other.startswith("make:") for other in lines[len(ports) :])
    assert not stack.left("container")
    assert not stack.left("network")


@pytest.mark.engine
def test_a_folder_that_rejects_its_group_stops_nothing(base_images: dict[str, str], tmp_path: Path) -> None:
    """NFS and CIFS may reject it; here the step lacks the capability."""
    (entrypoint,) = re.findall(r"entrypoint: (\[.*\])", (ROOT / "docker-compose.yaml").read_text())
    shell, *arguments = json.loads(re.sub(r"\[sh, -c,", '["sh", "-c",', entrypoint))
    image = base_images.get("RABBITMQ_IMAGE", "rabbitmq:4-management")
    tmp_path.chmod(0o777)
    if os.getuid() == 0:
        os.chown(tmp_path, ORDINARY_USER, ORDINARY_USER)
    step = ["docker", "run", "--rm", "--user=root", "--cap-drop=ALL", f"--volume={tmp_path}:/logs", "--network=none"]
    output = run(*step, f"--entrypoint={shell}", image, *arguments)
    assert "The permissions of logs/ stay as they are" in output


@pytest.mark.engine
def test_a_broker_in_a_container_whose_starter_was_killed_is_ended_before_the_next(
    base_images: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no epmd on a machine without the package; and the container outlives its client."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").symlink_to(shutil.which("docker") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    image = base_images.get("RABBITMQ_IMAGE", "rabbitmq:4-management")
    first = Node(tmp_path / "broker", image=image)
    first.start()
    second = Node(tmp_path / "broker", image=image)
    assert second.port != first.port
    try:
        second.start()
        assert speaks_amqp(second.port)
        assert not speaks_amqp(first.port)
    finally:
        second.stop()
        first.kill()


@pytest.fixture
def home() -> Iterator[Path]:
    """A copy of the tree that belongs to an ordinary user, whose logs a container has written to."""
    if os.getuid() != 0 or not Path("/usr/bin/python3").exists():
        unavailable("only root can act as two users; and the system's Python is needed")
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    folder.chmod(0o755)
    copy_of_the_tree(folder)
    run("chown", "-R", f"{ORDINARY_USER}:{ORDINARY_USER}", folder)
    for name in "metric_log.csv", "metric_state.sqlite3":
        (folder / "logs" / name).write_text(name)
        os.chown(folder / "logs" / name, CONTAINER_USER, CONTAINER_USER)
    yield folder
    shutil.rmtree(folder)


def test_make_local_after_make_up_says_what_to_run(home: Path) -> None:
    person: dict[str, Any] = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": [], "cwd": home}
    done = subprocess.run(["/usr/bin/python3", "-m", "local"], **person, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"make local: cannot write to {home}/logs/metric_")
    (cure,) = re.findall(r"To make a copy that is yours: (.*)\n$", done.stderr)
    run("sh", "-c", cure, **person)
    check = "import pathlib, local.__main__; local.__main__.check_writable(pathlib.Path('logs'))"
    assert run("/usr/bin/python3", "-c", check, **person) == ""
    assert (home / "logs" / "metric_log.csv").read_text() == "metric_log.csv"


def test_make_local_names_what_only_root_can_give(home: Path) -> None:
    os.chown(home / "logs", 0, 0)
    person: dict[str, Any] = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": [], "cwd": home}
    done = subprocess.run(["/usr/bin/python3", "-m", "local"], **person, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Run: sudo chown -R {ORDINARY_USER} {home}/logs" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_windows_checkout_keeps_the_line_endings_of_scripts(tmp_path: Path) -> None:
    run("git", "clone", "--quiet", "--config", "core.autocrlf=true", ROOT, tmp_path / "clone")
    scripts = [*(tmp_path / "clone").glob("local/*.sh"), tmp_path / "clone/.ci/run", tmp_path / "clone/Makefile"]
    assert len(scripts) > 5
    assert [script.name for script in scripts if b"\r" in script.read_bytes()] == []


def test_make_clean_without_an_engine_lists_what_make_local_leaves(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    (tmp_path / ".local").mkdir()
    output = run("make", "clean", cwd=tmp_path, env=os.environ | {"DOCKER_HOST": "unix:///nonexistent"})
    assert "No container engine answers" in output
    assert "rm -r .local" in output


@pytest.mark.parametrize("engine", ["as it is", "none"])
def test_the_doctor_needs_one_screen_and_changes_nothing(tmp_path: Path, engine: str) -> None:
    copy_of_the_tree(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    environment = os.environ | ({"DOCKER_HOST": "unix:///nonexistent"} if engine == "none" else {})
    output = run("make", "doctor", cwd=tmp_path, env=environment)
    assert len(output.splitlines()) <= 24
    assert re.search(r"^make up +would ", output, re.MULTILINE)
    if engine == "none":
        assert "would stop: no container engine with Compose" in output
    assert sorted(tmp_path.rglob("*")) == before
