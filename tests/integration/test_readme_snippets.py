"""The programs in the README and in docs/ do what is said there, as they stand there."""

from harness import ROOT, Client, Service, eventually, rows
from local import Broker

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.broker
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SNIPPETS = [text for page in PAGES for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


def execute(containing: str, node: Broker) -> dict[str, Any]:
    (snippet,) = (text for text in SNIPPETS if containing in text)
    assert "amqp://guest:guest@localhost:5672/%2F" in snippet
    names: dict[str, Any] = {}
    exec(snippet.replace("amqp://guest:guest@localhost:5672/%2F", node.url), names)
    return names


def test_a_producer_of_ones_own(client: Client, run: Callable[..., Service], node: Broker, tmp_path: Path) -> None:
    for name in ("model", "metric"):
        run(name).wait_for_log("connected")
    names = execute('"y_true"', node)
    ((id, y_true, y_pred, _),) = eventually(lambda: rows(tmp_path / "logs"))
    assert (id, y_true) == (names["sample"], 151.0)
    assert 25 < y_pred < 346  # the range of the labels


def test_dead_letters_are_put_back(client: Client, run: Callable[..., Service], node: Broker, tmp_path: Path) -> None:
    first = run("metric", PENDING_TTL=0.01)  # too short a time for any label
    first.wait_for_log("connected")
    for i in range(3):
        client.publish("y_pred", {"id": i, "body": i})
    eventually(lambda: client.count("dead_letters") == 3)
    assert first.terminate() == 0
    hopeless = b"not a message, and without headers"
    client.publish("dead_letters", hopeless)
    execute('"dead_letters"', node)
    assert [body for body, _ in client.take("dead_letters", 1)] == [hopeless]
    assert [json.loads(body)["id"] for body, _ in client.take("y_pred", 3)] == [0, 1, 2]
