"""The story goes on as the faults do, and never back."""

from __future__ import annotations

import asyncio

from proof.pace import ALL, AT_STRIKE, BEFORE, Pace

TIMES = [0.0, 0.5, 1.0, 5.0, 5.0, 9.0, 20.0, 90.0]


def happened(pace: Pace) -> int:
    return sum(at <= pace() for at in TIMES)


def test_each_part_has_equally_many_steps_however_far_apart_they_are() -> None:
    pace = Pace(TIMES, parts=2)
    assert happened(pace) == 0
    pace.move_to(0, ALL)
    assert happened(pace) == 5  # two of the steps happen at one time
    pace.move_to(1, ALL)
    assert happened(pace) == len(TIMES)


def test_the_story_never_goes_back() -> None:
    pace = Pace(TIMES, parts=2)
    pace.move_to(1, AT_STRIKE)
    now = pace()
    pace.move_to(0, BEFORE)
    assert pace() == now


def test_everything_happens_in_the_end_even_of_a_story_without_faults() -> None:
    pace = Pace(TIMES, parts=1)
    pace.finish()
    assert happened(pace) == len(TIMES)


def test_while_a_fault_lasts_the_rest_of_its_part_happens() -> None:
    pace = Pace(TIMES, parts=1)
    pace.move_to(0, AT_STRIKE)
    asyncio.run(pace.burst_while(0, 0.01))
    assert happened(pace) == len(TIMES)
