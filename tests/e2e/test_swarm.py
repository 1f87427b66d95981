"""The stack on a Docker Swarm of one host, from the same files."""

from __future__ import annotations

from e2e.stack import SERVICES, Stack, locked, run, succeeds
from harness import eventually, unavailable

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine

NODES = ("rabbitmq", "rabbitmq2", "rabbitmq3")
LABELS = (*NODES, "logs")
FILES = "docker-compose.yaml:docker-compose.cluster.yaml:docker-compose.swarm.yaml"
REGISTRY = "swarm-test"


@pytest.fixture(scope="module")
def swarm(new_stack: Any, generations: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running stack, with a Swarm around it if there was none."""
    stack: Stack = new_stack("2", COMPOSE_FILE=FILES, REGISTRY=REGISTRY, RABBITMQ_COOKIE=secrets.token_hex())
    if generations["2"] != ["docker", "compose"]:  # where it is no plugin, it becomes one for us
        plugins = tmp_path_factory.mktemp("docker") / "cli-plugins"
        plugins.mkdir()
        Path(plugins, "docker-compose").symlink_to(generations["2"][0])
        stack.environment["DOCKER_CONFIG"] = str(plugins.parent)
    stack.compose("build")
    with ExitStack() as undo:
        if run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() != "active":
            undo.enter_context(locked("compose1"))  # leaving a Swarm cuts off the containers of Compose 1
            if attached():
                unavailable("leaving a Swarm would cut off the containers of Compose 1 that run here")
            if not succeeds("docker", "swarm", "init", "--advertise-addr", "127.0.0.1"):
                unavailable("the engine makes no Swarm")
            undo.callback(run, "docker", "swarm", "leave", "--force")
        host = run("docker", "info", "--format", "{{.Swarm.NodeID}}").strip()
        for label in LABELS:
            run("docker", "node", "update", "--label-add", f"{label}=yes", host)
            undo.callback(run, "docker", "node", "update", "--label-rm", label, host)
        # The images are here and in no registry.
        deploy = f"local/swarm.sh | docker stack deploy --resolve-image never --compose-file - {stack.project}"
        run("bash", "-o", "pipefail", "-c", deploy, cwd=stack.folder, env=stack.environment)
        undo.callback(eventually, lambda: not containers(stack, "", "--all"), "the end of all containers", 60)
        undo.callback(run, "docker", "stack", "rm", stack.project)
        yield stack
    run("docker", "image", "rm", *(f"{REGISTRY}/pipeline-{service}" for service in SERVICES))


def attached() -> bool:
    """Whether a container is in a network that a Swarm takes it out of at its end."""
    networks = run("docker", "network", "ls", "--quiet").split()
    form = "{{if .Attachable}}{{len .Containers}}{{end}}"
    return any(run("docker", "network", "inspect", *networks, "--format", form).replace("0", "").split())


def containers(stack: Stack, service: str = "", *options: str) -> list[str]:
    """The ids of the containers of a service, or of all services."""
    only = f"label=com.docker.swarm.service.name={stack.project}_{service}" if service else f"name={stack.project}_"
    return run("docker", "container", "ls", "--quiet", "--filter", only, *options).split()


def tasks(stack: Stack, service: str, *options: str) -> list[dict[str, Any]]:
    """The containers of a service as the engine describes them."""
    found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *containers(stack, service, *options)))
    return found


def test_rows_come(swarm: Stack) -> None:
    eventually(swarm.rows, "the first row")
    swarm.wait_for_another_row()


def test_there_are_three_brokers_and_two_models(swarm: Stack) -> None:
    assert [len(containers(swarm, node)) for node in NODES] == [1, 1, 1]
    assert len(containers(swarm, "model")) == 2


def test_a_killed_broker_comes_back_and_rows_keep_coming(swarm: Stack) -> None:
    broker = containers(swarm, "rabbitmq2")
    run("docker", "kill", *broker)
    swarm.wait_for_another_row()
    eventually(lambda: containers(swarm, "rabbitmq2") not in ([], broker), "another")
    swarm.wait_for_another_row()


def test_containers_are_unprivileged_read_only_and_bounded(swarm: Stack) -> None:
    for service in (*NODES, *SERVICES):
        for task in tasks(swarm, service):
            host = task["HostConfig"]
            assert task["Config"]["User"] == ("rabbitmq" if service in NODES else "10001:10001")
            assert host["ReadonlyRootfs"]
            assert host["CapDrop"] == ["ALL"]
            assert not host["CapAdd"]
            assert 0 < host["Memory"] <= 2 * 2**30
            assert 0 < host["PidsLimit"] <= 500
            assert not host["PortBindings"]
    ports = run("docker", "stack", "services", swarm.project, "--format", "{{.Ports}}")
    assert not ports.strip(), "nothing is open to the world"


def test_its_folder_is_prepared_once(swarm: Stack) -> None:
    (once,) = tasks(swarm, "logs", "--all")
    assert once["State"]["ExitCode"] == 0
    assert (swarm.logs / "metric_log.csv").stat().st_gid == 10001 or os.getuid() != 0


def test_the_client_of_debian_12_takes_it_as_well(swarm: Stack) -> None:
    """Docker 20.10 rejects a stack that names no version of its form."""
    stack = json.loads(run("bash", "-c", "local/swarm.sh 2>/dev/null", cwd=swarm.folder, env=swarm.environment))
    assert stack["version"] == "3.9"
