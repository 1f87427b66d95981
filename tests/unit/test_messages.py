"""What is a message, and what a person reads about bytes that are none."""

from harness import ROOT
from model import ModelSettings, Prediction, answer_messages
from pipeline.messages import MAX_BODY, Value, Vector, encode, parse
from pipeline.regressor import Regressor

import bz2
import codecs
import gzip
import json
import lzma
import math
import pickle
import re
import time
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

numbers = st.floats(allow_nan=False, allow_infinity=False)
ids = st.floats(-(2**53), 2**53, exclude_min=True, exclude_max=True)


@given(sample_id=ids, body=st.lists(numbers | st.none()), extra=st.text())
def test_whatever_json_makes_of_a_valid_message_is_taken(
    sample_id: float, body: list[float | None], extra: str
) -> None:
    for text in (
        json.dumps({"extra": {extra: [extra]}, "body": body, "id": sample_id}),
        json.dumps({"id": sample_id, "body": body}),
    ):
        message = parse(text.encode(), Vector)
        assert isinstance(message, Vector), message
        assert (float(message.id), message.body) == (sample_id, body)


@given(sample_id=ids, body=numbers)
def test_a_value_reads_back_to_the_same_float(sample_id: float, body: float) -> None:
    message = parse(encode(msgspec.Raw(repr(sample_id).encode()), body), Value)
    assert isinstance(message, Value), message
    assert (float(message.id), message.body) == (sample_id, body)
    assert math.copysign(1, message.body) == math.copysign(1, body)


@given(
    st.binary() | st.text().map(str.encode) | st.builds(json.dumps, st.dictionaries(st.text(), numbers)).map(str.encode)
)
def test_no_bytes_make_parse_raise(body: bytes) -> None:
    for kind in (Vector, Value):
        message = parse(body, kind)
        assert isinstance(message, kind) or message, "a reason is never empty"


@pytest.mark.parametrize(
    "begun",
    [b'{"id": 1, "raw": "' + b'\\"a\\": ' * 150_000, b'"' * 2**20, b"'" * 2**20, b'"\\' * 2**19, b"[" * 2**20],
    ids=["cut within JSON in JSON", "double quotes", "single quotes", "backslashes", "brackets"],
)
def test_the_reason_is_found_at_once_in_a_large_message(begun: bytes) -> None:
    started = time.process_time()
    assert isinstance(parse(begun, Value), str)
    assert time.process_time() - started < 1


@pytest.fixture(scope="module")
def committed() -> Regressor:
    return Regressor(str(ROOT / "model/src/myfile.pkl"), None, ModelSettings())


@pytest.mark.parametrize(
    "sample_id",
    ["1699541234", "1699541234.0", "1699541234.5670", "1.699541234e9", "1699541234.1234567890123", "-0", "0.10", "1E5"],
)
def test_an_id_leaves_the_model_unchanged_to_the_character(committed: Regressor, sample_id: str) -> None:
    body = f'{{ "body": {[0.01] * 10}, "unit": "mg/dl", "id" :  {sample_id}  }}'
    (result,) = answer_messages(committed, [body.encode()])
    assert isinstance(result, Prediction), result
    assert result.message.startswith(b'{"id":' + sample_id.encode() + b',"body":')
    value = parse(result.message, Value)
    assert isinstance(value, Value), value
    assert bytes(value.id) == sample_id.encode()


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"id":1,"body":[1]}',
        b' \r\n{"id":1,\t"body":[1]}\n',
        b'{"id":1,"body":[1e0],"unit":"\\u00b5g","nested":{"id":2,"body":[{"id":3}]}}',
        '{"id":1,"body":[1],"ед":"мг"}'.encode(),
        b'{"id":1,"body":[1],"note":"None, NaN and \'quotes\'"}',
        b'{"\\u0069d":1,"body":[1]}',
        b'{"id":1,"body":[1],"serial":' + b"9" * 5000 + b"}",
    ],
    ids=["byte order mark", "white space", "other keys", "Cyrillic", "words in a text", "an escape in a key", "digits"],
)
def test_what_is_json_all_the_same_is_taken(body: bytes) -> None:
    message = parse(body, Vector)
    assert isinstance(message, Vector), message
    assert (float(message.id), message.body) == (1, [1])


def test_a_message_may_have_a_mebibyte_and_no_more() -> None:
    text = b'{"id":1,"body":[1]}'
    assert isinstance(parse(text.ljust(MAX_BODY), Vector), Vector)
    assert parse(text.ljust(MAX_BODY + 1), Vector) == "expected at most 1048576 bytes, got 1048577"


GOOD = '{"id": 1, "body": [1.0]}'
NULL_HINT = "a missing feature is null"
TAKES_TIME = "Unix time in seconds, as a JSON number without quotes"
REASONS: list[tuple[str, bytes, str]] = [  # what it is, the bytes, what a person has to find in the reason
    ("NaN", b'{"id":1,"body":[1, NaN]}', f"NaN is not JSON: {NULL_HINT}"),
    ("Infinity", b'{"id":1,"body":[Infinity]}', "^Infinity is not JSON"),
    ("minus Infinity", b'{"id":1,"body":[-Infinity]}', "-Infinity is not JSON"),
    ("nan of C", b'{"id":1,"body":[nan]}', f"nan is not JSON: {NULL_HINT}"),
    ("undefined of JavaScript", b'{"id":1,"body":[undefined]}', "undefined is not JSON"),
    ("repr of Python", str({"id": 1, "body": [1.0]}).encode(), "' is not JSON.*double quotes"),
    ("repr with None", b'{"id": 1, "body": [None]}', f"None is not JSON: {NULL_HINT}"),
    ("repr of numpy", repr({"id": 1, "body": [np.float64(1)]}).encode(), "is not JSON"),
    ("a numpy number", b'{"id": 1, "body": [np.float64(1.0)]}', "malformed at 'np.float64"),
    ("True", b'{"id":1,"body":[True]}', "True is not JSON.*lower case"),
    ("curly quotes", "{“id”: 1, “body”: [1.0]}".encode(), "“ is not JSON.*double quotes"),
    ("UTF-16", GOOD.encode("utf-16"), "got UTF-16$"),
    ("UTF-16 LE", GOOD.encode("utf-16-le"), "got UTF-16$"),
    ("UTF-16 BE", codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"), "got UTF-16$"),
    ("UTF-32", GOOD.encode("utf-32"), "got UTF-32$"),
    ("UTF-32 BE", GOOD.encode("utf-32-be"), "got UTF-32$"),
    ("Latin-1", '{"id":1,"body":[1],"unit":"µg"}'.encode("latin-1"), "JSON in UTF-8.*0xb5"),
    ("Windows-1251", '{"id":1,"body":[1],"unit":"мг"}'.encode("cp1251"), "JSON in UTF-8.*0xec"),
    ("gzip", gzip.compress(GOOD.encode()), "got gzip"),
    ("zlib", zlib.compress(GOOD.encode()), "got zlib"),
    ("zlib, best", zlib.compress(GOOD.encode(), 9), "got zlib"),
    ("bzip2", bz2.compress(GOOD.encode()), "got bzip2"),
    ("xz", lzma.compress(GOOD.encode()), "got xz"),
    ("zstd", b"\x28\xb5\x2f\xfd\x20\x18\xc1\x00\x00", "got zstd"),
    ("zip", b"PK\x03\x04\x14\x00", "got zip"),
    *((f"pickle {i}", pickle.dumps({"id": 1, "body": [1.0]}, i), "got a pickle") for i in (0, 2, 3, 4, 5)),
    ("MessagePack", msgspec.msgpack.encode({"id": 1, "body": [1.0]}), "got binary data|JSON in UTF-8"),
    ("XML", b"<sample><id>1</id></sample>", "got XML"),
    ("HTML", b"\n<!doctype html>", "HTML"),
    ("YAML", b"id: 1\nbody: [1]", "malformed at 'id: 1"),
    ("base64", b"eyJpZCI6MX0=", "malformed at 'eyJp"),
    ("encoded twice", json.dumps(GOOD).encode(), "encoded twice"),
    ("empty", b"", "empty"),
    ("blank", b" \r\n\t", "empty"),
    ("byte order mark alone", codecs.BOM_UTF8, "empty"),
    ("cut short", GOOD[:-4].encode(), "truncated"),
    ("two in one", 2 * GOOD.encode(), "malformed.*Extra data"),
    ("trailing comma", b'{"id":1,"body":[1,]}', "malformed at"),
    ("comment", b'{"id":1, // seconds\n"body":[1]}', "malformed at '// seconds"),
    ("a number that begins with a point", b'{"id":1,"body":[.5]}', "malformed at '.5"),
    ("a number that begins with zero", b'{"id":01,"body":[5]}', "malformed at '1,"),
    ("id twice", b'{"id":1,"id":2,"body":[1]}', "key 'id' occurs twice"),
    ("id twice, escaped", b'{"id":1,"\\u0069d":2,"body":[1]}', "key 'id' occurs twice"),
    ("body twice", b'{"id":1,"body":[1],"body":[1]}', "key 'body' occurs twice"),
    ("another key twice", b'{"id":1,"body":[1],"a":{"b":1,"b":2}}', "key 'b' occurs twice"),
    ("string id", b'{"id":"1699541234.567","body":[1]}', f"`str`.*id.*{TAKES_TIME}"),
    ("UUID", b'{"id":"6fa459ea-ee8a-3ca4-894e-db77e160355e","body":[1]}', f"`str`.*id.*{TAKES_TIME}"),
    ("a date", b'{"id":"2024-01-01T00:00:00Z","body":[1]}', f"`str`.*id.*{TAKES_TIME}"),
    ("id null", b'{"id":null,"body":[1]}', f"`null`.*id.*{TAKES_TIME}"),
    ("id true", b'{"id":true,"body":[1]}', f"`bool`.*id.*{TAKES_TIME}"),
    ("nanoseconds", b'{"id":1699541234567890123,"body":[1]}', "< 9007199254740992.*id.*Unix time in seconds"),
    ("just too large", b'{"id":9007199254740992,"body":[1]}', "< 9007199254740992"),
    ("beyond a float", b'{"id":1e400,"body":[1]}', "range.*id"),
    ("a number of 5,000 digits", b'{"id":1,"body":[' + b"9" * 5000 + b"]}", "range.*body"),
    ("no id", b'{"ID":1,"body":[1]}', "missing required field `id`"),
    ("no body", b'{"id":1,"Body":[1]}', "missing required field `body`"),
    ("a list", b"[1,2]", "`object`, got `array`"),
    ("a number", b"1", "`object`, got `int`"),
    ("a feature as text", b'{"id":1,"body":[1,"2"]}', r"got `str`.*body\[1\]|got `str`.*body"),
    ("a feature true", b'{"id":1,"body":[true]}', "got `bool`.*body"),
    ("a feature beyond a float", b'{"id":1,"body":[1e400]}', "range.*body"),
    ("a table of one row", b'{"id":1,"body":[[1]]}', "got `array`.*body"),
    ("a number for a list", b'{"id":1,"body":1}', "got `int`.*body"),
    ("by name", b'{"id":1,"body":{"age":1}}', "got `object`.*body"),
    ("not UTF-8 in another key", b'{"id":1,"body":[1],"x":"\xff"}', "UTF-8.*0xff"),
    ("deep", b'{"id":1,"body":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "got `array`.*body"),
    ("deep in another key", b'{"id":1,"body":[1],"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "too deeply"),
    ("deep and cut", b'{"id":1,"body":[1],"x":' + b'{"a":' * 10**5, "too deeply|truncated"),
    ("over a mebibyte", b'{"id":1,"body":[' + b"1," * 2**20 + b"1]}", "at most 1048576 bytes, got 2097"),
]


@pytest.mark.parametrize(("body", "reason"), [case[1:] for case in REASONS], ids=[case[0] for case in REASONS])
def test_a_reason_leads_to_the_cause(body: bytes, reason: str) -> None:
    found = parse(body, Vector)
    assert isinstance(found, str), "it was taken"
    assert re.search(reason, found), found
    assert "\n" not in found
    assert len(found) < 300


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"id":1,"body":null}', "got `null`.*body"),  # a label is never missing
        (b'{"id":1,"body":[1]}', "got `array`.*body"),
        (b'{"id":1,"body":"1"}', "got `str`.*body"),
        (b'{"id":1,"body":true}', "got `bool`.*body"),
        (b'{"id":1,"body":NaN}', "NaN is not JSON"),
        (b'{"id":1,"body":1e400}', "range.*body"),
        (b'{"id":1,"body":1,5}', "malformed"),
    ],
)
def test_a_value_that_is_no_number_gets_a_reason(body: bytes, reason: str) -> None:
    found = parse(body, Value)
    assert isinstance(found, str), "it was taken"
    assert re.search(reason, found), found
