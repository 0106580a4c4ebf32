"""Each property holds for the hostile corpus, for what the fuzzer has found, and for what is made of it by chance."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
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


def test_where_the_fuzzer_cannot_run_it_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["make fuzz"])
    with pytest.raises(SystemExit, match="atheris, which has wheels for Linux on x86_64"):
        main()


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this platform")
def test_the_fuzzer_runs_and_a_property_that_does_not_hold_is_a_finding(tmp_path: Path) -> None:
    """A property that is not there never holds."""
    found, elsewhere = tmp_path / "found", tmp_path / "elsewhere"
    found.mkdir()
    elsewhere.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.target"]
    options = [str(found), "-runs=200", f"-artifact_prefix={elsewhere}/"]
    held = subprocess.run([*command, "split", *options], capture_output=True, check=False)
    assert held.returncode == 0, held.stderr[-1000:]
    assert list(found.iterdir()) == []
    broken = subprocess.run([*command, "no-such-property", *options], capture_output=True, check=False)
    assert broken.returncode != 0
    assert len(list(found.iterdir())) == 1
