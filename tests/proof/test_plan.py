"""The plan of a proof: repeatable, and complete before it repeats itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from proof.catalogue import FAULTS
from proof.plan import Plan
from proof.sabotage import SABOTAGES


def pairs(plan: Plan) -> Counter[tuple[str, str]]:
    return Counter((strike.kind, strike.target) for strike in plan.strikes)


ALL = {(fault.kind, target) for fault in FAULTS.values() for target in fault.targets}


def test_the_same_seed_draws_the_same_plan_and_another_another() -> None:
    assert Plan.draw(FAULTS, seed=7, count=110) == Plan.draw(FAULTS, seed=7, count=110)
    assert Plan.draw(FAULTS, seed=7, count=110) != Plan.draw(FAULTS, seed=8, count=110)


def test_every_fault_strikes_every_target_before_any_strikes_twice() -> None:
    assert len(ALL) <= 110
    drawn = pairs(Plan.draw(FAULTS, seed=3, count=len(ALL)))
    assert drawn.keys() == ALL
    assert set(drawn.values()) == {1}
    assert pairs(Plan.draw(FAULTS, seed=3, count=3 * len(ALL))) == Counter(dict.fromkeys(ALL, 3))


def test_the_short_plan_has_every_kind_and_kills_and_freezes_every_part() -> None:
    drawn = pairs(Plan.draw(FAULTS, seed=3, count=None))
    kinds = Counter(kind for kind, _ in drawn)
    assert kinds.keys() == {fault.kind for fault in FAULTS.values() if fault.targets}
    for kind, count in kinds.items():
        assert count == (len(FAULTS[kind].targets) if FAULTS[kind].every_target else 1), kind
    assert kinds["killed"] == kinds["frozen"] == 8


def test_strikes_last_as_long_as_their_fault_may() -> None:
    for strike in Plan.draw(FAULTS, seed=5, count=300).strikes:
        shortest, longest = FAULTS[strike.kind].lasts
        assert shortest <= strike.seconds <= longest


def test_a_plan_may_be_of_some_kinds_only_and_has_as_many_strikes() -> None:
    plan = Plan.draw(FAULTS, seed=5, count=110, kinds=["killed", "cut"])
    assert {strike.kind for strike in plan.strikes} == {"killed", "cut"}
    assert len(plan.strikes) == 110
    short = Plan.draw(FAULTS, seed=5, count=None, kinds=["killed", "cut"])
    assert Counter(strike.kind for strike in short.strikes) == {"killed": 8, "cut": 1}


def test_the_page_on_the_proof_names_every_fault_and_every_sabotage() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proof.md").read_text()
    rows = set(re.findall(r"^\| `?([^|`]+)`? \|", page, re.MULTILINE))
    assert FAULTS.keys() | SABOTAGES.keys() <= rows
