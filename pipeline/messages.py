"""The contract as code: the queues, the messages, and the reason why a message is invalid.

A message is a JSON object of at most MAX_BODY bytes: `id`, a Unix time in seconds that names the sample, and `body`.
Other keys are ignored. The id is passed on unchanged, to the character.
"""

import json
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw

FEATURES, Y_TRUE, Y_PRED, DEAD_LETTERS = "features", "y_true", "y_pred", "dead_letters"  # the queues
MAX_BODY = 2**20  # bytes of a message

Id = Annotated[float, Meta(gt=-(2**53), lt=2**53)]
M = TypeVar("M", bound="Message")


class Message(msgspec.Struct):
    """The part that all messages share. `id` is the JSON number as text; `float(message.id)` is its value."""

    id: Raw


class Vector(Message):
    """In `features`: d numbers, one for each feature, null where one is missing."""

    body: list[float | None]


class Value(Message):
    """In `y_true` and `y_pred`: a number in the unit of the target."""

    body: float


id_decoder = msgspec.json.Decoder(Id)
decoders: dict[type[Message], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Vector, Value)
}
SIGNATURES = {  # the first bytes of other formats, most specific first
    rb"\xff\xfe\0\0|\0\0\xfe\xff|[\t\n\r -~]\0\0\0|\0\0\0[\t\n\r -~]": "UTF-32",
    rb"\xff\xfe|\xfe\xff|[\t\n\r -~]\0|\0[\t\n\r -~]": "UTF-16",
    rb"\x1f\x8b": "gzip",
    rb"\x78[\x01\x5e\x9c\xda]": "zlib",
    rb"\x28\xb5\x2f\xfd": "zstd",
    rb"BZh": "bzip2",
    rb"\xfd7zXZ": "xz",
    rb"PK\x03\x04": "zip",
    rb"\x80[\x02-\x05]|[(\]]dp0\n|\(lp0\n": "a pickle",
    rb"\s*<": "XML or HTML",
}
STRING = re.compile(rb'"(?:\\.|[^"\\])*+"?')  # also one without an end: the search does not begin again within it
# Python's words, single quotes and curly ones
NOT_JSON = re.compile(rb"-?\b(NaN|nan|Infinity|inf|None|True|False|undefined)\b|'|\xe2\x80[\x98\x99\x9c\x9d]")


def encode(sample_id: Raw, body: float | Raw) -> bytes:
    """The bytes of a message, with the id unchanged. `body`: a number, or ready JSON."""
    return msgspec.json.encode({"id": sample_id, "body": body})


def parse(text: bytes, kind: type[M]) -> M | str:
    """The message, or the reason why it is invalid, for the person who reads the dead letters."""
    if len(text) > MAX_BODY:
        return f"expected at most {MAX_BODY} bytes, got {len(text)}"
    text = text.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, which RFC 8259 lets a reader skip
    try:
        message: M = decoders[kind].decode(text)
        if text.count(b'"') > 4:  # there are more keys than two, and one of them may be repeated
            json.loads(text, object_pairs_hook=_unique, parse_int=str)  # Python limits the digits of an int
    except RecursionError:
        return "its arrays or objects are nested too deeply"
    except ValueError as error:
        return _reason(text) or str(error)
    try:
        id_decoder.decode(message.id)
    except ValueError as error:
        return f"{error} - at `$.id`: it takes a Unix time in seconds, as a JSON number without quotes"
    return message


def _unique(pairs: list[tuple[str, Any]]) -> None:
    """JSON leaves open which of two equal keys counts, so a message with two is rejected."""
    keys = set[str]()
    for key, _ in pairs:
        if key in keys:
            raise ValueError(f"the key {key!r} occurs twice")
        keys.add(key)


def _reason(text: bytes) -> str:
    """What the bytes are instead of JSON, or where they stop being JSON; empty if neither is known."""
    if not text.strip():
        return "the message is empty"
    for start, name in SIGNATURES.items():
        if re.match(start, text, re.DOTALL):
            return f"expected JSON in UTF-8, got {name}"
    if b"\0" in text[:100]:
        return "expected JSON in UTF-8, got binary data"
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        return f"expected JSON in UTF-8: {error}"
    if word := NOT_JSON.search(STRING.sub(b'""', text)):
        hint = "a missing feature is null, true and false are in lower case, text is in double quotes"
        return f"{word[0].decode()} is not JSON: {hint}"
    if text.lstrip().startswith(b'"'):
        return "expected an object, got a string: was the JSON encoded twice?"
    try:
        json.loads(decoded)
    except json.JSONDecodeError as error:
        if error.pos < len(decoded.rstrip()):  # otherwise it was cut short
            return f"JSON is malformed at {decoded[error.pos :][:20]!r} (character {error.pos}): {error.msg}"
    except (ValueError, RecursionError):  # a whole number with thousands of digits; nested too deep
        pass
    return ""
