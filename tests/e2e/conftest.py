"""Fixtures: base images, the generations of Compose that are here, and stacks made of them."""

from __future__ import annotations

from e2e.stack import ORDINARY_USER, Stack, locked, run, succeeds
from harness import ROOT, eventually, unavailable

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def base_images() -> dict[str, str]:
    """The environment that names base images: the public ones if they are here, otherwise the stand-ins."""
    if not succeeds("docker", "version"):
        unavailable("no container engine answers (docker version)")
    given = {name: os.environ[name] for name in ("PYTHON_IMAGE", "RABBITMQ_IMAGE") if os.environ.get(name)}
    if given or succeeds("docker", "image", "inspect", "python:3.13-slim", "rabbitmq:4-management"):
        return given
    run(ROOT / "local" / "images.sh")
    return {"PYTHON_IMAGE": "pipeline-local/python:3.13", "RABBITMQ_IMAGE": "pipeline-local/rabbitmq:4-management"}


@pytest.fixture(scope="session")
def prometheus_image(base_images: dict[str, str]) -> str:
    """Prometheus as this machine can have it: a stand-in where the base images are."""
    if image := os.environ.get("PROMETHEUS_IMAGE"):
        return image
    if not base_images.get("PYTHON_IMAGE", "").startswith("pipeline-local/"):
        return "prom/prometheus:v3.5.0"
    run(ROOT / "local" / "images.sh", "prometheus")
    return "pipeline-local/prometheus:2.53"


@pytest.fixture(scope="session")
def generations(base_images: dict[str, str]) -> dict[str, list[str]]:
    """The Compose commands that work here, by generation."""
    found = {}
    if succeeds("docker-compose", "version") and "version 1." in run("docker-compose", "version"):
        found["1"] = ["docker-compose"]
    if succeeds("docker", "compose", "version"):
        found["2"] = ["docker", "compose"]
    elif "PYTHON_IMAGE" in base_images:
        folder = ROOT / ".local" / "compose2"
        run(ROOT / "local" / "compose2.sh", folder)
        found["2"] = [str(folder / "docker-compose")]
    return found


@pytest.fixture(scope="session")
def projects() -> Iterator[list[str]]:
    """The stacks that were made. Their images stay until the last has ended: so each package is installed once."""
    made: list[str] = []
    yield made
    for project in made:
        named = ["--format", "{{.Repository}}", "--filter", f"reference={project}*"]
        if images := run("docker", "image", "ls", *named).split():
            succeeds("docker", "image", "rm", *images)


@pytest.fixture(scope="module")
def new_stack(base_images: dict[str, str], generations: dict[str, list[str]], projects: list[str]) -> Iterator[Any]:
    """Make stacks that are gone, but for their images, when the module's tests have ended.

    What is given besides the generation and the owner of logs/ goes into the environment, for example COMPOSE_FILE.
    """
    made: list[Stack] = []

    def new(generation: str, owner: int = 0, **environment: str) -> Stack:
        if generation not in generations:
            unavailable(f"no Compose of generation {generation}")
        if generation == "1":
            until_the_end.enter_context(locked("compose1", fcntl.LOCK_SH))
        # Its name becomes that of the project, and so of images, which may not end in what mkdtemp may end in.
        folder = Path(tempfile.gettempdir(), f"stack{generation}-{secrets.token_hex(4)}")
        folder.mkdir(mode=0o755)
        made.append(Stack(generations[generation], folder, base_images | environment, owner))
        projects.append(folder.name)
        if len(projects) == 1:  # packages are installed by one process; the others then find them in Docker's cache
            with locked("build"):
                made[-1].compose("build")
        return made[-1]

    with ExitStack() as until_the_end:
        yield new
        for stack in made:
            stack.compose("down", "--volumes")
            shutil.rmtree(stack.folder)


@pytest.fixture(scope="module", params=["1", "2"], ids=["compose1", "compose2"])
def stack(request: pytest.FixtureRequest, new_stack: Any) -> Stack:
    """A running stack; under the first generation root owns logs/, under the second an ordinary user."""
    stack: Stack = new_stack(request.param, owner=0 if request.param == "1" else ORDINARY_USER)
    stack.compose("build")
    started = time.monotonic()
    stack.compose("up", "-d")
    eventually(stack.rows, "the first row")
    print(f"\nfirst row {time.monotonic() - started:.1f} s after up (Compose {request.param})")
    return stack
