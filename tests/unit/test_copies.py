"""The broker services share their plumbing as text, so that each folder can be copied out: the copies stay equal."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIES = {
    "fail": ["features/src/features.py", "model/src/model.py", "metric/src/metric.py", "plot/src/plot.py"],
    "configure": ["features/src/features.py", "model/src/model.py", "metric/src/metric.py"],
    "Outgoing": ["features/src/features.py", "model/src/model.py", "metric/src/metric.py"],
    "BrokerConnection": ["features/src/features.py", "model/src/model.py", "metric/src/metric.py"],
    "Client": ["features/src/features.py", "model/src/model.py", "metric/src/metric.py"],
    "Message": ["model/src/model.py", "metric/src/metric.py"],
    "Incoming": ["model/src/model.py", "metric/src/metric.py"],
    "unique": ["model/src/model.py", "metric/src/metric.py"],
    "parse": ["model/src/model.py", "metric/src/metric.py"],
    "Consumer": ["model/src/model.py", "metric/src/metric.py"],
    "load": ["features/src/features.py", "model/src/train.py"],
}


def definition(name: str, path: str) -> str:
    (found,) = (node for node in ast.parse((ROOT / path).read_text()).body if getattr(node, "name", None) == name)
    return ast.dump(found)


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_equal(name: str) -> None:
    for one, other in pairwise(COPIES[name]):
        assert definition(name, one) == definition(name, other), f"{name} differs between {one} and {other}"
