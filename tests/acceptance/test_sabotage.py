"""The proof finds builds that are broken on purpose; what finds nothing there would prove nothing elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.sabotage import SABOTAGES
from stack.services import remove
from tests.acceptance.programs import ROOT

#: By which faults each shows, and how often they are needed. Duplicates and untracked messages there are in any run.
SHOWN_BY = {
    "acknowledge-first": ("--faults", "9", "--only", "killed in mid-batch"),
    "no-unique-key": ("--short", "--only", "worked twice"),
    "guess-by-recipient": ("--short", "--only", "cut"),
    "refuse-rotated-secret": ("--short", "--only", "secret rotated too early"),
}
#: Shows only if a tracking and its event meet within milliseconds, which tests/proof/test_sabotage.py forces.
BY_CHANCE = {"no-recheck"}


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "prove"
    remove(tmp_path / "prove")


def test_each_sabotage_is_known_here() -> None:
    assert SHOWN_BY.keys() | BY_CHANCE == SABOTAGES.keys()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(SHOWN_BY))
def test_a_build_that_is_broken_on_purpose_is_not_proved(name: str, state_dir: Path, longer: bool) -> None:
    if not longer:
        pytest.skip("a proof each, half a minute and more: `make prove` runs them")
    ran = subprocess.run(
        [
            sys.executable, "-m", "cli", "prove", *SHOWN_BY[name], "--sabotage", name, "--seed", "3",
            "--events", "2500", "--patience", "40", "--state-dir", str(state_dir),
        ],
        env={"PATH": os.environ["PATH"], "COLUMNS": "120"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Not every event is where it belongs." in ran.stderr
    found = re.search(r"BROKEN: lost ([\d,]+), twice ([\d,]+), wrong ([\d,]+)", ran.stdout)
    assert found, ran.stdout
    lost, twice, wrong = (int(count.replace(",", "")) for count in found.groups())
    assert {"lost": lost, "twice": twice, "wrong": wrong}[SABOTAGES[name].SHOWS_AS] > 0
    (history,) = state_dir.with_name("prove-history").iterdir()
    judged = json.loads(history.read_text().splitlines()[-1])
    assert judged["type"] == "judged"
    assert len(judged["lost"]) + judged["given_up"] == lost
