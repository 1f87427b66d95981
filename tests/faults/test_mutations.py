"""The tests can fail: two of the mutations, of which `make chaos` runs all."""

from __future__ import annotations

from faults.mutations import MUTATIONS, Mutation, run

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]
CHEAP = ("a repeat is not known", "a torn line stays")


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.name in CHEAP], ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught(mutation: Mutation) -> None:
    assert run(mutation)
