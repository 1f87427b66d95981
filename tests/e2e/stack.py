"""The real stack in real containers, in a copy of the tree and under a project name of its own."""

from __future__ import annotations

from harness import ROOT, eventually, rows
from local import free_port

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVICES = ("features", "model", "metric", "plot")
BROKER_CONFIG = "/etc/rabbitmq/conf.d/15-pipeline.conf"
ORDINARY_USER = 1234  # a uid that no account here need have


def run(*command: str | Path, **options: Any) -> str:
    """Run a command, which must succeed, and return what it prints."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def locked(name: str, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Keep other processes of the tests waiting; with LOCK_SH, those that do not share it."""
    with Path(tempfile.gettempdir(), f"pipeline-{name}.lock").open("w") as file:
        fcntl.flock(file, kind)
        yield


def get(url: str, user: str = "", password: str = "") -> bytes:
    """What a page answers; raises HTTPError."""
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def copy_of_the_tree(folder: Path) -> None:
    for name in (*SERVICES, "pipeline", "local", "rabbitmq"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("docker-compose*.yaml"), ROOT / ".dockerignore", ROOT / "Makefile"):
        shutil.copy(file, folder)
    (folder / "logs").mkdir()


class Stack:
    """The pipeline in containers: what a person at the shell can do with it, and what the engine says of it."""

    def __init__(self, compose: list[str], folder: Path, environment: dict[str, str], owner: int) -> None:
        self.project, self.folder, self.logs = folder.name, folder, folder / "logs"
        self.amqp_port, self.management_port = free_port(), free_port()
        self._command = compose
        self.environment = {k: os.environ[k] for k in ("PATH", "HOME", "DOCKER_HOST") if k in os.environ} | environment
        self.environment |= {"AMQP_PORT": str(self.amqp_port), "MANAGEMENT_PORT": str(self.management_port)}
        self.environment |= {"INTERVAL": "1", "COMPOSE_PROJECT_NAME": self.project}
        copy_of_the_tree(folder)
        self.owner = owner
        if os.getuid() == 0:
            os.chown(self.logs, owner, owner)
        self.logs.chmod(0o700)  # the strictest that a person may have made it

    def compose(self, *arguments: str) -> str:
        return run(*self._command, *arguments, cwd=self.folder, env=self.environment)

    def make(self, target: str) -> str:
        return run("make", target, cwd=self.folder, env=self.environment)

    def container(self, service: str) -> str:
        labels = (f"project={self.project}", f"service={service}")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        return run("docker", "container", "ls", "--all", "--quiet", *filters).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        container: dict[str, Any] = json.loads(run("docker", "inspect", self.container(service)))[0]
        return container

    def exec(self, service: str, *command: str) -> bool:
        return succeeds("docker", "exec", self.container(service), *command)

    def rows(self) -> list[tuple[float, float, float, float]]:
        return rows(self.logs)

    def check_hardening(self, service: str, user: str, published: int = 0, bound: Sequence[str] = ()) -> None:
        """Fail unless the container is unprivileged, read-only and bounded.

        `published` is its number of ports on 127.0.0.1, `bound` where it sees folders or files of the machine.
        """
        container = self.inspect(service)
        host: dict[str, Any] = container["HostConfig"]
        assert container["Config"]["User"] == user
        assert not self.exec(service, "sh", "-c", "[ $(id -u) = 0 ]")
        assert not self.exec(service, "sh", "-c", ": > /anywhere")
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["Privileged"]
        assert 0 < host["Memory"] <= 2 * 2**30
        assert 0 < host["PidsLimit"] <= 500
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        bindings = [binding["HostIp"] for port in (host["PortBindings"] or {}).values() for binding in port]
        assert bindings == ["127.0.0.1"] * published
        mounted = [mount["Destination"] for mount in container["Mounts"] if mount["Type"] == "bind"]
        assert sorted(mounted) == sorted(bound)

    def check_secrecy(self, passwords: Iterable[str]) -> None:
        """Fail if one stands in a log line, or in what the engine tells besides the environment that was set."""
        output = self.compose("logs")
        assert "connected to" in output
        for service in json.loads(run("docker", "inspect", *self.left("container").split())):
            del service["Config"]["Env"]
            output += json.dumps(service)
        assert not [password for password in passwords if password in output]

    def wait_for_another_row(self) -> None:
        n = len(self.rows())
        eventually(lambda: len(self.rows()) > n, "another row")

    def left(self, kind: str) -> str:
        """The containers, networks or volumes that the engine still has of this project."""
        only = ["--all"] if kind == "container" else []
        return run(
            "docker", kind, "ls", *only, "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        )
