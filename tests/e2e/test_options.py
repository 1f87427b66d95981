"""OPTIONS chooses the files of the stack, for every command that goes through local/compose.sh."""

from __future__ import annotations

from e2e.stack import copy_of_the_tree, run
from harness import ROOT

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

Compose = Callable[..., subprocess.CompletedProcess[str]]
TAKES = "takes accounts, challenger, cluster, history and metrics, separated by commas"
CHALLENGER = {f"challenger-{name}" for name in ("definitions", "model", "metric", "plot")}
SECRETS = {f"{name}_PASSWORD": "x" for name in ("RABBITMQ", "FEATURES", "MODEL", "METRIC")}
SECRETS |= {"RABBITMQ_COOKIE": "x", "CHALLENGER_MODEL_PATH": "x"}


@pytest.fixture
def compose(tmp_path: Path, generations: dict[str, list[str]]) -> Compose:
    """Run local/compose.sh in a copy of the tree."""
    copy_of_the_tree(tmp_path)
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}

    def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [tmp_path / "local" / "compose.sh", *arguments]
        return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False)

    return compose


@pytest.mark.parametrize(
    ("options", "services"),
    [
        ("", set()),
        ("metrics", {"prometheus"}),
        ("cluster", {"rabbitmq2", "rabbitmq3"}),
        ("cluster,metrics", {"rabbitmq2", "rabbitmq3", "prometheus"}),
        ("metrics,accounts", {"prometheus"}),
        ("challenger,metrics", {*CHALLENGER, "prometheus"}),
        ("history,challenger", {*CHALLENGER, "history-definitions"}),
    ],
)
def test_options_add_up(compose: Compose, options: str, services: set[str]) -> None:
    done = compose("config", "--services", OPTIONS=options, **SECRETS)
    one = {"rabbitmq", "features", "model", "metric", "plot", "logs"}
    assert set(done.stdout.split()) == one | services, done.stderr


def test_an_override_is_kept_and_counts_last(compose: Compose, tmp_path: Path) -> None:
    override = "services: {metric: {environment: {METRICS_PORT: 9876}}}\n"
    (tmp_path / "docker-compose.override.yaml").write_text(override)
    for options in "", "metrics":
        assert "9876" in compose("config", OPTIONS=options).stdout


@pytest.mark.parametrize(
    "lines",
    [
        b'OPTIONS=history\r\nOPTIONS="metrics"\r\nOPTIONS=metrics\r\n',
        b"export OPTIONS=history # the past\n OPTIONS = 'metrics' \n",
    ],
)
def test_options_are_read_from_the_env_file(compose: Compose, tmp_path: Path, lines: bytes) -> None:
    """Two lines add up: the pages append one for each option."""
    (tmp_path / ".env").write_bytes(lines)
    assert {"prometheus", "history-definitions"} <= set(compose("config", "--services").stdout.split())


def test_an_option_needs_no_other_lines_than_those_of_its_page(compose: Compose, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    blocks = re.findall(r"^```sh\n(echo \"OPTIONS=.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        commands, up = block.rstrip().rsplit("\n", 1)
        assert up == "make up"
        run("bash", "-ec", commands, cwd=tmp_path)
        done = compose("config", "--quiet")
        assert (done.returncode, done.stderr) == (0, ""), block
        (tmp_path / ".env").unlink()


def test_stand_ins_are_used_where_make_up_has_built_them(compose: Compose, base_images: dict[str, str]) -> None:
    image = base_images.get("RABBITMQ_IMAGE", "rabbitmq:4-management")
    assert f"image: {image}" in compose("config").stdout
    assert "image: registry/rabbitmq" in compose("config", RABBITMQ_IMAGE="registry/rabbitmq").stdout


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"OPTIONS": "metric"}, f"OPTIONS=metric: {TAKES}\n"),
        ({"OPTIONS": "../cluster"}, f"OPTIONS=../cluster: {TAKES}\n"),
        (
            {"OPTIONS": "cluster,accounts"},
            "OPTIONS=cluster,accounts: accounts and cluster cannot be combined, since both set AMQP_URL\n",
        ),
        (
            {"OPTIONS": "history,accounts"},
            "OPTIONS=history,accounts: accounts takes neither challenger nor history, since each sets AMQP_EXCHANGE\n",
        ),
        (
            {"OPTIONS": "challenger,cluster"},
            "OPTIONS=challenger,cluster: cluster takes neither challenger nor history, whose copies are on one node\n",
        ),
        (
            {"OPTIONS": "metrics", "COMPOSE_FILE": "docker-compose.yaml"},
            "OPTIONS=metrics and COMPOSE_FILE=docker-compose.yaml are both set: remove COMPOSE_FILE, which OPTIONS "
            "replaces\n",
        ),
    ],
)
def test_what_cannot_be_is_one_line(compose: Compose, environment: dict[str, str], line: str) -> None:
    done = compose("config", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_the_swarm_needs_compose_2(tmp_path: Path) -> None:
    for name, script in {"docker": "exit 1", "docker-compose": "echo 1.29.2"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / "local" / "swarm.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "local/swarm.sh needs Compose v2 (docker compose); this machine has 1.29.2\n"
