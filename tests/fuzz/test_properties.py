"""Each property holds for the hostile corpus, for what the fuzzer has found, and for what is made of it by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.properties import PROPERTIES
from tests.fuzz.seeds import FOUND, seeds

SEEDS = [(name, seed) for name in PROPERTIES for seed in seeds(name)]


@pytest.mark.parametrize(("name", "seed"), SEEDS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(SEEDS)])
def test_property_holds_for_its_seed(name: str, seed: str) -> None:
    PROPERTIES[name](bytes(seeds(name)[seed]))


@pytest.mark.parametrize("name", PROPERTIES)
@given(body=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_property_holds_for_anything(name: str, body: bytes) -> None:
    PROPERTIES[name](body)


def test_whatever_was_found_belongs_to_a_property() -> None:
    assert {path.name for path in FOUND.glob("*")} <= PROPERTIES.keys()
