"""The sign of life for the health check: where it cannot be given, a service says so in one line and goes on."""

from __future__ import annotations

from harness import DRIVER, SERVICES, Client, Run, Service, eventually, open_to_all, unavailable

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
OTHER = 10001
READY = {"features": "connected", "model": "connected", "metric": "connected", "plot": "redrawing"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for temporary files."""
    path = tmp_path / "temporary"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "temporary", str(path)]
    if os.getuid() != 0 or subprocess.run(command, check=False).returncode:
        unavailable("may not mount a disk")
    yield path
    subprocess.run(["umount", "--lazy", path], check=False)


def test_a_service_that_connects_in_vain_gives_no_sign_of_life(client: Client, run: Run) -> None:
    """It would count as healthy otherwise, since it connects every second."""
    features = run("features", AMQP_EXCHANGE="nowhere", INTERVAL=0.1)
    features.wait_for_log("no connection")
    file = features.log_path.parent / "features.alive"
    seen = file.stat().st_mtime_ns if file.exists() else 0
    time.sleep(4)
    assert (file.stat().st_mtime_ns if file.exists() else 0) == seen
    assert features.log.count("connected to") <= 1


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


def remove(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


def expect_it_goes_on(service: Service) -> None:
    """After one line, for some more signs of life."""
    service.wait_for_log("no sign of life for the health check")
    time.sleep(1.5)
    assert service.process.poll() is None
    assert service.log.count("no sign of life") == 1
    assert service.terminate() == 0


@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("spoil", [make_read_only, remove], ids=lambda act: act.__name__)
def test_a_folder_that_is_spoilt_costs_one_line(
    client: Client, run: Run, folder: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    service = run(name, TMPDIR=folder)
    service.wait_for_log(READY[name])
    eventually((folder / f"{name}.alive").exists)
    spoil(folder)
    expect_it_goes_on(service)


@pytest.mark.parametrize("name", ["metric", "plot"])  # another user may not be able to import what the others need
def test_a_file_of_another_user_costs_one_line(
    client: Client, run: Run, tmp_path: Path, folder: Path, name: str
) -> None:
    """In a folder like /tmp, where nobody may remove what is somebody else's."""
    (folder / f"{name}.alive").touch(0o600)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o777)
    open_to_all(tmp_path)
    env = {"SERVICE": name, "USER_ID": OTHER, "PYTHONPATH": SERVICES / name / "src"}
    service = run(name, script=DRIVER, TMPDIR=folder, **env)
    service.wait_for_log(READY[name])
    expect_it_goes_on(service)
