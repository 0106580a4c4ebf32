"""One act is counted once: a maximum matching, checked against every possibility."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
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
        if row[1:4] == first[1:4] and abs(row.at - first.at) <= WINDOW:
            best = max(best, 1 + most_pairs(others, [each for each in native if each is not row]))
    return best


def test_two_events_seconds_apart_and_one_native_row_are_two_acts() -> None:
    assert match(acts(0, 3), acts(1), WINDOW) == {0: 0}


def test_the_edge_of_the_window_belongs_to_it() -> None:
    assert match(acts(0), acts(5), WINDOW) == {0: 0}
    assert match(acts(0), acts(5.000001), WINDOW) == {}


def test_a_row_that_could_be_either_of_two_events_goes_to_the_one_that_has_no_other() -> None:
    assert match(acts(3, -4), acts(0, 6), WINDOW) == {1: 0, 0: 1}


def test_readers_are_told_apart_where_both_sides_name_them() -> None:
    assert match(acts(0, subscriber=2), acts(1, subscriber=3), WINDOW) == {}


@pytest.mark.parametrize("ours", [None, 2])
def test_where_listmonk_names_nobody_the_time_decides(ours: int | None) -> None:
    assert match(acts(0, subscriber=ours), acts(1, subscriber=None), WINDOW) == {0: 0}


def test_an_event_of_nobody_in_particular_is_no_act_of_a_reader_with_a_name() -> None:
    assert match(acts(0, subscriber=None), acts(1, subscriber=2), WINDOW) == {}


def test_whoever_is_named_on_both_sides_goes_before_a_nobody() -> None:
    named, nobody = acts(1, subscriber=2)[0], acts(0, subscriber=None)[0]._replace(id=9)
    assert match(acts(0, subscriber=2), [nobody, named], WINDOW) == {0: 0}


def test_a_busy_campaign_of_nobodies_is_one_long_chain_and_no_harm() -> None:
    ours = [act._replace(subscriber_id=None) for act in acts(*(4 * n + 3 for n in range(20_000)))]
    native = [act._replace(subscriber_id=None) for act in acts(*(4 * n for n in range(20_000)))]
    assert len(match(ours, native, WINDOW)) == 20_000


seconds = st.lists(st.integers(0, 30), max_size=5)


@given(seconds, seconds, seconds, seconds)
def test_as_many_acts_as_can_be_are_counted_once(a: list[int], b: list[int], c: list[int], d: list[int]) -> None:
    ours = [act._replace(id=n) for n, act in enumerate(acts(*a) + acts(*b, subscriber=2))]
    native = [act._replace(id=n) for n, act in enumerate(acts(*c) + acts(*d, subscriber=2))]
    found = match(ours, native, WINDOW)
    assert len(set(found.values())) == len(found) == most_pairs(ours, native)
    for event, row in found.items():
        assert ours[event][1:4] == native[row][1:4]
        assert abs(ours[event].at - native[row].at) <= WINDOW
