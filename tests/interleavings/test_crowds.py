"""Three at once, in orders drawn by chance: a pair, and one of the two once more or a sweep."""

from __future__ import annotations

import random

import pytest

from tests.interleavings import listmonk_pairs, stream_pairs
from tests.interleavings.pairs import Pair, perform
from tests.interleavings.stage import Schedule, Stage
from tests.interleavings.works import sweep

pytestmark = pytest.mark.timeout(1800)

#: Plays of each pair, and how many where it may take longer.
_PLAYS, _MORE_PLAYS = 1, 40
#: Turns that are drawn for each play, and how many statements one may go.
_TURNS, _LONGEST_TURN = 9, 6

_WITH_LISTMONK = [pair for pair in listmonk_pairs.PAIRS if "deletion" not in pair.name]


@pytest.mark.parametrize("pair", [*stream_pairs.PAIRS, *_WITH_LISTMONK], ids=str)
def test_three_at_once_come_to_the_same_outcome_as_two(listmonk_stage: Stage, pair: Pair, longer: bool) -> None:
    play_crowds(listmonk_stage, pair, plays=_MORE_PLAYS if longer else _PLAYS)


def play_crowds(stage: Stage, pair: Pair, *, plays: int) -> None:
    """Play a pair and a third, so many times, each from a seed of its own, which a failure names with the schedule."""
    stage.set_scene(*pair.before)
    for seed in range(plays):
        chance = random.Random(f"{pair.name} {seed}")
        works = [pair.one, pair.other, chance.choice([pair.other, sweep])]
        perform(stage, pair, works, _drawn(chance, len(works)), looks_later=True)


def _drawn(chance: random.Random, actors: int) -> Schedule:
    schedule: list[tuple[int, int | None]] = [(number, 1) for number in chance.sample(range(actors), actors)]
    reached = [1] * actors
    for _ in range(_TURNS):
        number = chance.randrange(actors)
        reached[number] += chance.randint(1, _LONGEST_TURN)
        schedule.append((number, reached[number]))
    return schedule
