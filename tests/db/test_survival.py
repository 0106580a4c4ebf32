"""The mathematics of the forecast, against brute force over single events."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.survival import (
    EDGES,
    LEAST,
    Chance,
    Curve,
    begin_of,
    chance_of,
    compare_lately,
    forecast,
    span_of,
)

DEADLINE = 7 * 86_400.0
SPANS = st.integers(0, 40)
#: Past events, each with the span in which it was matched, or last seen waiting.
EVENTS = st.lists(st.tuples(SPANS, st.booleans()), min_size=LEAST, max_size=200)


def curve_of(events: list[tuple[int, bool]]) -> Curve:
    return Curve(Counter(span for span, matched in events if matched), Counter(s for s, m in events if not m))


def still_waiting(events: list[tuple[int, bool]], begin: int, until: int) -> Fraction:
    """The product-limit estimate, event by event: of those seen in each span, how many come out of it waiting."""
    share = Fraction(1)
    for span in range(begin, until):
        seen = [event for event in events if event[0] >= span]
        if seen:
            share *= Fraction(sum(event != (span, True) for event in seen), len(seen))
    return share


def followed(events: list[tuple[int, bool]], begin: int, until: int) -> Fraction:
    """Peto's effective number: those seen in the last span, as if none had been lost to sight before."""
    for last in range(until - 1, begin - 1, -1):
        seen = sum(event[0] >= last for event in events)
        if seen:
            return seen / still_waiting(events, begin, last)
        if still_waiting(events, begin, last):
            return Fraction(0)  # they were lost, not matched
    return Fraction(0)


@given(EVENTS, SPANS, SPANS)
def test_a_chance_is_the_product_limit_over_those_still_waiting(
    events: list[tuple[int, bool]], span: int, until: int
) -> None:
    chance = curve_of(events).chance(span, until)
    if chance is None:
        assert until <= span or followed(events, span, until) < LEAST
        return
    assert chance.of == pytest.approx(float(followed(events, span, until)))
    assert chance.share == pytest.approx(float(1 - still_waiting(events, span, until)), abs=1e-9)
    assert 0 <= chance.low <= chance.share + 1e-9
    assert chance.share - 1e-9 <= chance.high <= 1
    assert LEAST - 1e-6 <= chance.of <= sum(event[0] >= span for event in events) + 1e-6


@given(st.lists(SPANS, min_size=LEAST, max_size=200), SPANS, SPANS)
def test_where_every_event_was_followed_to_its_match_a_chance_is_a_plain_share(
    matched: list[int], span: int, until: int
) -> None:
    chance = Curve(Counter(matched), {}).chance(span, until)
    reached = [each for each in matched if each >= span]
    if until <= span or len(reached) < LEAST:
        assert chance is None
    else:
        assert chance is not None
        assert chance.of == pytest.approx(len(reached))
        assert chance.share == pytest.approx(sum(each < until for each in reached) / len(reached))


@given(EVENTS, SPANS)
def test_with_a_longer_time_a_chance_never_falls_and_fewer_tell_of_it(
    events: list[tuple[int, bool]], span: int
) -> None:
    curve = curve_of(events)
    chances = [each for until in range(span + 1, 60) if (each := curve.chance(span, until))]
    assert all(a.share <= b.share + 1e-12 and a.of >= b.of - 1e-6 for a, b in pairwise(chances))


@given(st.integers(1, 400), st.data())
def test_intervals_are_wilsons(of: int, data: st.DataObject) -> None:
    """Its ends are where the share that was seen lies just 1.96 standard errors away."""
    share = data.draw(st.integers(0, of)) / of
    chance = chance_of(share, of)
    z = NormalDist().inv_cdf(0.975)
    for end in (chance.low, chance.high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(z * (end * (1 - end) / of) ** 0.5, rel=1e-4, abs=1e-7)


def test_what_was_never_followed_so_far_has_no_chance_told() -> None:
    curve = Curve(Counter({0: 100}), Counter({10: 100}))
    assert curve.chance(0, 5) == chance_of(0.5, 200)
    assert curve.chance(0, 11) is not None
    assert curve.chance(0, 12) is None  # nobody was seen beyond span 10
    assert curve.followed(0, 60) == 11


def test_fewer_than_the_least_tell_nothing() -> None:
    assert Curve(Counter({0: LEAST - 1}), {}).chance(0, 1) is None
    assert Curve(Counter({0: LEAST}), {}).chance(0, 1) == chance_of(1.0, LEAST)
    alone = forecast(Curve(Counter({0: LEAST - 1}), {}), {0: 5}, DEADLINE)
    assert (alone.untold, alone.within_seconds, alone.reaches_deadline) == (5, None, False)


def test_those_seen_last_on_the_way_count_as_far_as_they_went() -> None:
    """A hundred events, seventy of which were last seen young: what is said of old age rests on the thirty."""
    curve = Curve(Counter({20: 15}), Counter({5: 70, 40: 15}))
    early, late = curve.chance(0, 5), curve.chance(0, 30)
    assert isinstance(early, Chance)
    assert isinstance(late, Chance)
    assert (early.of, round(late.of)) == (100, 30)
    assert late.share == pytest.approx(0.5)


def old(days: float) -> int:
    return span_of(days * 86_400)


def test_the_young_will_be_matched_soon_and_the_old_never() -> None:
    """Of a thousand, 980 were matched within nine minutes, and 20 waited through the deadline."""
    curve = Curve(Counter({span_of(300): 980}), Counter({old(8): 20 + 40}))
    told = forecast(curve, {0: 412, old(2): 3}, DEADLINE)
    assert (told.parked, told.untold, told.reaches_deadline) == (415, 0, True)
    assert told.within_seconds is not None
    assert 300 < told.within_seconds < 400
    assert told.soon.events == pytest.approx(412 * 980 / 1040)
    assert told.soon.low < told.soon.events < told.soon.high <= 415
    assert told.soon.events + told.later + told.never.events == pytest.approx(415)


def test_old_events_that_many_past_ones_outlived_in_vain_are_hopeless() -> None:
    curve = Curve(Counter({3: 1000, 60: 1}), Counter({old(8): 200}))
    told = forecast(curve, {0: 412, 70: 2, old(2): 3}, DEADLINE)
    assert (told.hopeless, told.hopeless_seconds) == (5, begin_of(70))
    assert told.untold == 0


def test_what_is_older_than_every_match_is_hopeless_though_too_few_were_as_old_to_tell_a_chance() -> None:
    curve = Curve(Counter({3: 1000}), Counter({old(8): 4}))
    told = forecast(curve, {3: 50, 4: 1, old(2): 3}, DEADLINE)
    assert (told.untold, told.hopeless, told.hopeless_seconds) == (4, 4, begin_of(4))
    assert told.never.events == pytest.approx(50 * 4 / 1004)


def test_among_the_young_nothing_is_hopeless() -> None:
    curve = Curve(Counter({3: 900}), Counter({old(8): 100}))
    assert forecast(curve, {0: 10, 3: 5}, DEADLINE).hopeless == 0


def test_a_young_installation_says_how_far_its_past_goes() -> None:
    curve = Curve(Counter({3: 900}), Counter({span_of(3600): 100}))
    told = forecast(curve, {0: 10}, DEADLINE)
    assert not told.reaches_deadline
    assert 3600 < told.known_seconds < 4100
    assert told.never.events == pytest.approx(1)


@given(EVENTS, st.dictionaries(SPANS, st.integers(1, 50), max_size=5))
def test_the_parts_of_a_forecast_add_up(events: list[tuple[int, bool]], parked: dict[int, int]) -> None:
    told = forecast(curve_of(events), parked, DEADLINE)
    assert told.parked == sum(parked.values())
    known = told.parked - told.untold
    assert told.soon.events + told.later + told.never.events == pytest.approx(known, abs=1e-6)
    for part in (told.soon, told.never):
        assert -1e-6 <= part.low <= part.events + 1e-6
        assert part.events <= part.high + 1e-6
        assert part.high <= known + 1e-6
    assert 0 <= told.hopeless <= told.parked


def test_lately_as_before_is_no_alarm_and_far_fewer_is_one() -> None:
    before = Curve(Counter({3: 5000}), Counter({old(8): 50}))
    usual = compare_lately(before, Counter({3: 200}), Counter({4: 3}))
    assert usual.matched == 200
    assert usual.expected == pytest.approx(201, abs=2)
    assert not usual.are_too_few
    assert compare_lately(before, Counter({3: 40}), Counter({30: 300})).are_too_few
    assert not compare_lately(before, Counter(), Counter({30: 5})).are_too_few  # too few to say so
    assert not compare_lately(before, Counter(), Counter({1: 5000})).are_too_few  # a busy hour, all young


def test_spans_meet_without_a_gap() -> None:
    assert span_of(0) == 0
    assert all(span_of(begin_of(span)) == span for span in range(len(EDGES) + 1))
    assert all(1.1 < later / earlier < 1.13 for earlier, later in pairwise(EDGES))
