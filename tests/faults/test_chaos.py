"""Guarantees 1 and 2 under SIGKILLs of everything, in a short form; `make chaos` is the long one."""

from __future__ import annotations

from faults.chaos import chaos

import random
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]


def test_nothing_is_lost_or_twice_whatever_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    result, well = chaos(seed, 1, tmp_path)
    print(result)
    assert well
