"""Guarantee 2: what is not a message becomes a dead letter, unchanged; what comes before and after is served."""

from __future__ import annotations

from faults import faulty_models
from faults.faulty_models import MAGIC, SumOfThree, pickled
from faults.oracle import QUORUM, bad_messages
from harness import QUEUES, ROOT, Client, Run, eventually, rows

import json
import re
import struct
from pathlib import Path
from typing import Any

import pika
import pika.data
import pytest

pytestmark = pytest.mark.broker
MIB = 2**20
SERVICE = {"features": "model", "y_true": "metric", "y_pred": "metric"}
LARGE = {
    "empty": b"",
    "over 1 MiB": b'{"id": 1, "body": 1}' + b" " * MIB,
    "10 MiB": b"[" + b"1," * (5 * MIB) + b"1]",
    "deep nesting": b'{"id": 1, "body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep nesting in another key": b'{"a": 1, "b": ' + b"[" * 400_000 + b"]" * 400_000 + b', "id": 1, "body": 1}',
}
REASONS = {  # what a person must find in the reason
    "not JSON": "malformed",
    "array": "array",
    "missing id": "missing.*id",
    "id null": "null.*id",
    "id boolean": "bool.*id",
    "id string": "str.*id",
    "id NaN": "NaN is not JSON",
    "id 1e400": "range.*id",
    "missing body": "missing.*body",
    "body null": "null.*body",
    "body string": "str.*body",
    "body object": "object.*body",
    "body a list": "array.*body",
    "body NaN": "NaN is not JSON",
    "duplicate key": "twice",
    "trailing bytes": "trailing|malformed",
    "invalid UTF-8": "utf-8|decode|invalid",
    "formula": "str.*body",
    "too few": "expected 3 features, got 1",
    "nested": "array.*body",
    "empty": "truncated|empty",
    "over 1 MiB": "at most 1048576 bytes, got 1048596",
    "10 MiB": "at most 1048576 bytes, got 10485763",
    "deep nesting": "nested too deeply|array.*body",
    "deep nesting in another key": "nested too deeply",
}


@pytest.mark.parametrize("queue", ["features", "y_true", "y_pred"])
def test_a_bad_message_becomes_a_dead_letter_unchanged(client: Client, run: Run, tmp_path: Path, queue: str) -> None:
    """With a good sample before and after each, which makes its row."""
    for name in ("model", "metric"):
        run(name, MODEL_PATH=pickled(SumOfThree(), tmp_path), PYTHONPATH=ROOT / "tests").wait_for_log("connected")
    bad = {kind: body % 7 if kind not in LARGE else body for kind, body in (bad_messages(queue) | LARGE).items()}
    expected = []
    for sample_id, body in enumerate([*bad.values(), None]):
        client.publish("y_true", {"id": sample_id, "body": 1})
        client.publish("features", {"id": sample_id, "body": [1, 2, 3]})
        expected.append((sample_id, 1, 6, 5))
        if body is not None:
            client.publish(queue, body)
    letters = client.take("dead_letters", len(bad))
    assert [body for body, _ in letters] == list(bad.values())
    for kind, (_, headers) in zip(bad, letters, strict=True):
        assert headers.keys() - {"x-delivery-count"} == {"reason", "queue", "service"}
        assert (headers["queue"], headers["service"]) == (queue, SERVICE[queue])
        pattern = REASONS[kind] + ("|array.*body" if queue == "features" else "")  # a number where a list should be
        assert re.search(pattern, headers["reason"], re.IGNORECASE), f"{kind}: {headers['reason']}"
    eventually(lambda: sorted(rows(tmp_path / "logs")) == expected)


def test_nothing_but_the_body_of_a_message_counts(client: Client, run: Run, tmp_path: Path) -> None:
    run("metric").wait_for_log("connected")
    for sample_id, count in enumerate([99, -1, "many", 2**40, True, None, [3], {"a": 1}]):
        headers = {"x-delivery-count": count, "x-death": count, "reason": count, "queue": count}
        properties = pika.BasicProperties("a/b", "gzip", headers, 1, 9, "c", "d", "60000", "e", 1, "f", "guest", "g")
        body = b'{"id":%d,"body":1}' % sample_id
        client.channel.basic_publish("", "y_true", body, properties, mandatory=True)
        client.publish("y_pred", {"id": sample_id, "body": 2})
    eventually(lambda: rows(tmp_path / "logs") == [(sample_id, 1, 2, 1) for sample_id in range(8)])


class Encoded(bytes):
    """The value of a header as it travels: its type and its bytes."""


@pytest.mark.parametrize("queue", ["features", "y_true", "y_pred"])
def test_a_property_that_pika_cannot_read_stops_nothing(
    client: Client, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """A time in milliseconds, or one before 1970, as other clients may write it; deep nesting; no UTF-8."""
    milliseconds, negative = (Encoded(b"T" + struct.pack(">q", time)) for time in (1_764_271_234_567, -62_135_596_800))
    array = table = Encoded(b"t\x01")
    for _ in range(5000):
        array = Encoded(b"A" + struct.pack(">I", len(array)) + array)
        table = Encoded(b"F" + struct.pack(">I", len(table) + 2) + b"\x01k" + table)
    values: list[Any] = [milliseconds, negative, [milliseconds], {"sent": milliseconds}, array, table]

    def encode(pieces: list[bytes], value: object, otherwise: Any = pika.data.encode_value) -> int:
        if not isinstance(value, Encoded):
            return int(otherwise(pieces, value))
        pieces.append(value)
        return len(value)

    monkeypatch.setattr("pika.data.encode_value", encode)
    services = [run("metric"), run("model", MODEL_PATH=pickled(SumOfThree(), tmp_path), PYTHONPATH=ROOT / "tests")]
    for service in services:
        service.wait_for_log("connected")
    properties = [pika.BasicProperties(headers={"before": 1, "x": value, "after": 2}) for value in values]
    properties.append(pika.BasicProperties(app_id="Labor M\xfcnchen".encode("latin-1")))
    for sample_id, own in enumerate(properties):
        bodies = {"y_true": 1, "y_pred": 2} | {"features": [1, 2, 3]}
        if queue != "y_pred":
            del bodies["y_pred"]
        else:
            del bodies["features"]
        for name, body in bodies.items():
            message = json.dumps({"id": sample_id, "body": body})
            client.channel.basic_publish("", name, message, own if name == queue else None, mandatory=True)
    expected = [(i, 1, 2, 1) if queue == "y_pred" else (i, 1, 6, 5) for i in range(len(properties))]
    eventually(lambda: sorted(rows(tmp_path / "logs")) == expected)
    assert [service.log.count("connected") for service in services] == [1, 1]
    client.publish(queue, b"bad", x=milliseconds)
    client.take("dead_letters", 1)


def test_four_messages_of_70_mib_become_dead_letters(client: Client, run: Run, tmp_path: Path) -> None:
    """More than metric may hold, although it takes as few as it can."""
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    for queue in "y_true", "y_pred":
        for _ in range(2):
            client.publish(queue, b"[" + b"1" * 70 * MIB)
    run("metric").wait_for_log("connected")
    eventually(lambda: client.count("dead_letters") >= 4)
    eventually(lambda: client.count("y_true") + client.count("y_pred") == 0)
    client.publish("y_true", {"id": 1, "body": 1})
    client.publish("y_pred", {"id": 1, "body": 2})
    eventually(lambda: rows(tmp_path / "logs") == [(1, 1, 2, 1)])
    assert client.count("dead_letters") <= 6  # two of them may be under way when the connection is given up


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("NotANumber", "answered nan"),
        ("Raising", "cannot predict that"),
        ("RaisingALongText", "no"),
        ("RaisingASurrogate", "failed"),
        ("Deadly", "died of it"),
        ("ReadingItsInput", "EOFError"),
    ],
)
def test_a_vector_that_the_model_cannot_take_is_rejected_alone(
    client: Client, run: Run, tmp_path: Path, model: str, reason: str
) -> None:
    """Although it comes in one batch with others; and the service itself goes on."""
    client.declare("features", **QUORUM)
    bodies = [
        json.dumps({"id": sample_id, "body": [MAGIC if sample_id == 30 else 0.5, sample_id]}).encode()
        for sample_id in range(100)
    ]
    for body in bodies:
        client.publish("features", body)
    service = run("model", MODEL_PATH=pickled(getattr(faulty_models, model)(), tmp_path), PYTHONPATH=ROOT / "tests")
    service.wait_for_log("connected")
    ((letter, headers),) = client.take("dead_letters", 1)
    assert letter == bodies[30]
    assert (headers["queue"], headers["service"]) == ("features", "model")
    assert reason in headers["reason"]
    answers = [json.loads(body) for body, _ in client.take("y_pred", 99)]
    assert {a["id"]: a["body"] for a in answers} == {
        sample_id: 0.5 + sample_id for sample_id in range(100) if sample_id != 30
    }
    assert service.terminate() == 0
    assert client.count("dead_letters") == client.count("y_pred") == client.count("features") == 0
    assert service.log.count("connected") == 1


def test_the_second_of_two_halves_that_differ_is_rejected(client: Client, run: Run, tmp_path: Path) -> None:
    """Whether the first still waits or is a row already; a repeat, in whatever form, is dropped.

    So is a second prediction, since a model may answer differently in another batch.
    """
    metric = run("metric")
    metric.wait_for_log("connected")
    client.publish("y_true", b'{"id":1,"body":5}')
    client.publish("y_true", b'{"body":5.0, "id":1.0}')
    client.publish("y_true", b'{"id":1,"body":6}')
    client.publish("y_pred", b'{"id":1,"body":7}')
    eventually(lambda: rows(tmp_path / "logs") == [(1, 5, 7, 2)])
    client.publish("y_pred", b'{"id":1,"body":8}')
    client.publish("y_true", b'{"id":1,"body":5}')
    client.publish("y_true", b'{"id":1,"body":9}')
    letters = dict(client.take("dead_letters", 2))
    assert {body: headers["queue"] for body, headers in letters.items()} == {
        b'{"id":1,"body":6}': "y_true",
        b'{"id":1,"body":9}': "y_true",
    }
    assert metric.terminate() == 0
    assert client.count("dead_letters") == 0
    assert rows(tmp_path / "logs") == [(1, 5, 7, 2)]
