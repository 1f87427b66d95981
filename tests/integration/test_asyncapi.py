"""docs/asyncapi.yaml is valid AsyncAPI 3, and says of the messages what pipeline/messages.py does."""

from __future__ import annotations

from harness import ROOT, Client, Run
from pipeline import messages
from pipeline.messages import MAX_BODY, Id, Message, Value, Vector, parse

import copy
import json
import re
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())
OFFICIAL = Draft7Validator(json.loads((ROOT / "tests/asyncapi/3.0.0.json").read_text()))
KINDS: dict[str, type[Message]] = {"vector": Vector, "label": Value, "prediction": Value}


def resolved(part: Any) -> Any:
    """With what its references mean, and without what only people read."""
    if isinstance(part, list):
        return [resolved(item) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        place: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        return resolved(place)
    return {key: resolved(value) for key, value in part.items() if key not in ("title", "description")}


def payload(message: str) -> Any:
    return resolved(DOCUMENT["components"]["messages"][message]["payload"])


def test_it_is_valid() -> None:
    assert [error.message for error in OFFICIAL.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("info", "version"), 2),
        (("channels", "features", "adress"), "features"),
        (("operations", "model.takeVector", "action"), "subscribe"),
        (("components", "messages", "label", "payload", "type"), "nothing"),
        (("components", "channelBindings", "queue", "amqp", "is"), "topic"),
    ],
)
def test_the_official_schema_finds_mistakes(place: tuple[str, ...], value: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    part = document
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    assert not OFFICIAL.is_valid(document)


def test_its_channels_are_the_queues() -> None:
    queues = {messages.FEATURES, messages.Y_TRUE, messages.Y_PRED, messages.DEAD_LETTERS}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == queues
    for name, channel in DOCUMENT["channels"].items():
        assert channel["address"] == name
        assert resolved(channel["bindings"])["amqp"]["queue"]["durable"] is True


def test_every_reference_leads_somewhere() -> None:
    assert resolved(DOCUMENT)["operations"]["model.takeVector"]["channel"]["address"] == "features"


@pytest.mark.parametrize("message", KINDS)
def test_a_message_has_the_form_of_its_type(message: str) -> None:
    """The schema that msgspec gives, with that of the id, which is kept as text to pass it on unchanged."""
    form = msgspec.json.schema(KINDS[message])["$defs"][KINDS[message].__name__]
    form = {key: value for key, value in form.items() if key not in ("title", "description")}
    assert form["properties"]["id"] == {}
    form["properties"]["id"] = msgspec.json.schema(Id)
    assert payload(message) == form


def test_the_largest_message_and_the_version_are_those_of_the_code() -> None:
    assert DOCUMENT["x-max-message-bytes"] == MAX_BODY
    (version, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert DOCUMENT["info"]["version"] == version


def test_its_examples_are_valid() -> None:
    for message, kind in KINDS.items():
        for example in DOCUMENT["components"]["messages"][message].get("examples", []):
            text = json.dumps(example["payload"]).encode()
            assert isinstance(parse(text, kind), kind)


numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
odd = numbers | st.none() | st.booleans() | st.text(max_size=3)
bodies = odd | st.lists(odd, max_size=3) | st.lists(numbers | st.none(), max_size=3)


@given(st.dictionaries(st.sampled_from(["id", "body", "time", "ID"]), bodies) | odd, st.sampled_from(list(KINDS)))
def test_it_accepts_what_the_services_accept(content: object, message: str) -> None:
    accepted = isinstance(parse(json.dumps(content).encode(), KINDS[message]), KINDS[message])
    assert Draft7Validator(payload(message)).is_valid(content) == accepted


@pytest.mark.broker
def test_what_the_services_publish_is_as_it_says(client: Client, run: Run) -> None:
    assert run("features", INTERVAL=0, COUNT=20).wait() == 0
    vectors = client.take("features", 20)
    seen = {"vector": vectors, "label": client.take("y_true", 20)}
    run("model").wait_for_log("connected")
    for body, _ in vectors:
        client.publish("features", body)
    client.publish("features", b"not JSON")
    seen["prediction"] = client.take("y_pred", 20)
    for message, taken in seen.items():
        for body, _ in taken:
            Draft7Validator(payload(message)).validate(json.loads(body))
    ((body, headers),) = client.take("dead_letters", 1)
    assert body == b"not JSON"
    Draft7Validator(resolved(DOCUMENT["components"]["messages"]["rejected"]["headers"])).validate(headers)
