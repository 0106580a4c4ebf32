"""One act is counted once: a maximum matching, checked against every possibility."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from db.listmonk.matching import Act, match

WINDOW = timedelta(seconds=5)
START = datetime(2026, 1, 10, 10, 0, tzinfo=UTC)


def acts(*seconds: float, subscriber: int | None = 1) -> list[Act]:
    return [Act(n, 7, subscriber, None, START + timedelta(seconds=s)) for n, s in enumerate(seconds)]


def most_pairs(ours: list[Act], native: list[Act]) -> int:
    """Return how many can be paired at most, by trying everything."""
    if not ours:
        return 0
    first, *others = ours
    best = most_pairs(others, native)
    for row in native:
        if row.group == first.group and abs(row.at - first.at) <= WINDOW:
            best = max(best, 1 + most_pairs(others, [each for each in native if each is not row]))
    return best


def test_two_events_seconds_apart_and_one_native_row_are_two_acts() -> None:
    assert match(acts(0, 3), acts(1), {}, WINDOW) == {0: 0}


def test_the_edge_of_the_window_belongs_to_it() -> None:
    assert match(acts(0), acts(5), {}, WINDOW) == {0: 0}
    assert match(acts(0), acts(5.000001), {}, WINDOW) == {}


def test_the_nearest_row_is_taken() -> None:
    assert match(acts(0), acts(-4, 1, 3), {}, WINDOW) == {0: 1}


def test_an_event_moves_to_another_row_so_that_another_finds_one() -> None:
    ours, native = acts(3, -4), acts(0, 6)
    assert match(ours, native, {0: 0}, WINDOW) == {0: 1, 1: 0}


def test_nobody_is_a_reader_like_any_other() -> None:
    assert match(acts(0, subscriber=None), acts(1, subscriber=None), {}, WINDOW) == {0: 0}
    assert match(acts(0, subscriber=None), acts(1, subscriber=2), {}, WINDOW) == {}


seconds = st.lists(st.integers(0, 30), max_size=5)


@given(seconds, seconds, seconds, seconds)
def test_as_many_acts_as_can_be_are_counted_once(a: list[int], b: list[int], c: list[int], d: list[int]) -> None:
    ours = [act._replace(id=n) for n, act in enumerate(acts(*a) + acts(*b, subscriber=2))]
    native = [act._replace(id=n) for n, act in enumerate(acts(*c) + acts(*d, subscriber=2))]
    found = match(ours, native, {}, WINDOW)
    assert len(set(found.values())) == len(found) == most_pairs(ours, native)
    for event, row in found.items():
        assert ours[event].group == native[row].group
        assert abs(ours[event].at - native[row].at) <= WINDOW


@given(seconds, seconds, st.data())
def test_whatever_came_first_the_number_is_the_same(a: list[int], b: list[int], data: st.DataObject) -> None:
    ours, native = acts(*a), acts(*b)
    held: dict[int, int] = {}
    come: list[Act] = []
    for event in data.draw(st.permutations(ours)):
        come.append(event)
        before = set(held)
        held = match(come, native, held, WINDOW)
        assert before <= set(held)  # what was counted natively stays so
    assert len(held) == most_pairs(ours, native)
