"""Pairs of transactions, the table that the tests go through; and how a pair is played in every order."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from zlib import crc32

import pytest

from tests.interleavings.actors import Actor
from tests.interleavings.stage import Schedule, Stage, Work
from tests.interleavings.truth import Truth, check
from tests.interleavings.works import make_due, sweep, watch

#: Crossings that are played of each pair in each order, drawn by chance, and how many where it may take longer.
_SAMPLE, _LARGER_SAMPLE = 4, 150


@dataclass(frozen=True)
class Pair:
    """Two transactions that meet, what there was ``before``, and what must have come of it, in whatever order they met.

    Where the outcome rightly depends on who was first, there are several truths.

    ``afterwards`` is what production runs before the truth can be expected, where that is not the two alone: a sweep
    that adopts foreign rows, a watch of native ones. ``passing`` are SQLSTATEs that may occur on the way, because
    production expects them and tries again; a deadlock is never one. ``rare`` pairs have many statements: they are
    played only where it may take longer.
    """

    name: str
    one: Work
    other: Work
    truth: Truth | Sequence[Truth]
    before: Sequence[Work] = ()
    afterwards: Sequence[Work] = ()
    passing: Collection[str] = ()
    rare: bool = False

    def __str__(self) -> str:
        return self.name


def play_through(stage: Stage, pair: Pair, *, swapped: bool, longer: bool) -> None:
    """Play a pair in every order, with one side or, ``swapped``, the other first; if not ``longer``, one of the two."""
    if pair.rare and not longer:
        pytest.skip("Two operators' long runs at once: with --longer.")
    if not longer and swapped != crc32(pair.name.encode()) % 2:
        pytest.skip("Half of the pairs with one side first, half with the other; all with --longer.")
    stage.set_scene(*pair.before)
    sides = [pair.other, pair.one] if swapped else [pair.one, pair.other]
    crossings = list(_crossings(*_halt(stage, pair, sides)))
    drawn = min(_LARGER_SAMPLE if longer else _SAMPLE, len(crossings))
    for schedule in Random(f"{pair.name} {swapped}").sample(crossings, drawn):
        perform(stage, pair, sides, schedule)


def _halt(stage: Stage, pair: Pair, sides: Sequence[Work]) -> tuple[int, int]:
    """Halt the first side before each of its statements in turn while the other runs through, as far as locks let it.

    Returns how many gates the two came to when the first went before the other.
    """
    for gate in itertools.count(1):
        first, second = perform(stage, pair, sides, [(0, gate), (1, None), (0, None)], looks_later=gate % 10 == 1)
        if len(first.gates) < gate:
            assert first.gates, "nobody can be halted who passes no gate"
            return len(first.gates), len(second.gates)
    raise AssertionError("never ends")


def _crossings(first_gates: int, second_gates: int) -> Iterator[Schedule]:
    """Yield the schedules in which both sides halt, before any of their statements, and the first ends first."""
    for first, second in itertools.product(range(2, first_gates + 1), range(2, second_gates + 1)):
        yield [(0, first), (1, second), (0, None), (1, None)]


def perform(
    stage: Stage, pair: Pair, sides: Sequence[Work], schedule: Schedule, *, looks_later: bool = False
) -> list[Actor]:
    """Play one schedule, assert the truth, and with ``looks_later`` that what comes round next does not spoil it."""
    stage.begin()
    actors = stage.play(sides, schedule)
    truths = [pair.truth] if isinstance(pair.truth, Truth) else pair.truth
    try:
        for actor in actors:
            assert actor.error is None
            assert set(actor.sqlstates) <= set(pair.passing), f"{actor.name} met {actor.sqlstates}"
        stage.do(*pair.afterwards)
        check(stage, truths)
        if looks_later:
            stage.do(make_due, sweep, *([watch] if stage.listmonk else []))
            check(stage, truths)
    except AssertionError as error:
        error.add_note(f"Played {schedule}:")
        for actor in actors:
            error.add_note("\n  ".join([f"{actor.name} ({actor.sqlstates}, {actor.error!r})", *actor.gates]))
        raise
    return actors
