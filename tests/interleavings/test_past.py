"""What operators bring in and correct meets what comes over the streams."""

from __future__ import annotations

import pytest

from tests.interleavings.pairs import Pair, play_through
from tests.interleavings.past_pairs import PAIRS
from tests.interleavings.stage import Stage

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("swapped", [False, True], ids=["one first", "other first"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_however_they_meet_the_outcome_is_right_and_none_dies_of_a_deadlock(
    stage: Stage, pair: Pair, swapped: bool, longer: bool
) -> None:
    play_through(stage, pair, swapped=swapped, longer=longer)
