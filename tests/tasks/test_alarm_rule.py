"""When an alarm is raised, raised again, and ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from db.drift import ID_MISSING, POISON, Alarm, Tally
from tasks.alarm_rule import Rule, Verdict, raised_sentence

NOW = datetime(2026, 1, 10, 2, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULE = Rule(share=0.1, least=200, window=HOUR, slows_for=12 * HOUR)


def alarm(*, since: timedelta, ended: timedelta | None = None, by: str = "itself", times: int = 1) -> Alarm:
    ended_at = None if ended is None else NOW - ended
    return Alarm(1, 1, NOW - since, NOW - since, ended_at, ended_by=by if ended else None, times=times)


def judged(events: int, bad: int, before: Alarm | None = None) -> Verdict:
    return RULE.judge(POISON, before, Tally(events=events, malformed=bad), NOW)


def test_above_the_share_of_enough_events_it_is_raised() -> None:
    assert judged(200, 21) is Verdict.RAISE
    assert judged(200, 20) is Verdict.LEAVE
    assert judged(10_000, 1) is Verdict.LEAVE
    assert judged(199, 199) is Verdict.LEAVE  # one bad event at night, or a few, are no alarm


def test_unknown_events_count_like_malformed_ones_and_each_alarm_has_a_share_of_its_own() -> None:
    tally = Tally(events=1000, malformed=60, unknown=60, engagements=300, without_id=20)
    assert RULE.judge(POISON, None, tally, NOW) is Verdict.RAISE
    assert RULE.judge(ID_MISSING, None, tally, NOW) is Verdict.LEAVE
    assert RULE.judge(ID_MISSING, None, tally._replace(without_id=31), NOW) is Verdict.RAISE


def test_it_ends_when_the_newest_are_better_than_half_the_share() -> None:
    on = alarm(since=timedelta(minutes=1))
    assert judged(200, 10, on) is Verdict.END
    assert judged(200, 11, on) is Verdict.LEAVE
    assert judged(199, 0, on) is Verdict.LEAVE  # too few to tell yet


def test_it_ends_when_hardly_anything_has_come_for_a_whole_window() -> None:
    assert judged(10, 10, alarm(since=2 * HOUR)) is Verdict.END
    assert judged(10, 10, alarm(since=HOUR / 2)) is Verdict.LEAVE


def test_one_that_was_raised_again_ends_after_a_whole_good_window_though_it_asks_for_more() -> None:
    again = alarm(since=1.1 * HOUR, times=2)
    assert judged(399, 19, again) is Verdict.END
    assert judged(399, 20, again) is Verdict.LEAVE
    assert judged(399, 0, alarm(since=0.9 * HOUR, times=2)) is Verdict.LEAVE


@given(st.integers(0, 20_000), st.integers(1, 50))
@example(events=200, times=2)
@example(events=12_799, times=50)
def test_at_no_rate_does_an_alarm_outlive_a_whole_good_window(events: int, times: int) -> None:
    assert judged(events, events // 20, alarm(since=1.1 * HOUR, times=times)) is Verdict.END


def test_what_has_slowed_nothing_for_a_window_does_not_come_again_but_anew_so_that_it_slows() -> None:
    assert judged(200, 100, alarm(since=12.9 * HOUR, ended=HOUR / 2)) is Verdict.RAISE_AGAIN
    assert judged(200, 100, alarm(since=13 * HOUR, ended=HOUR / 2)) is Verdict.RAISE
    assert judged(200, 100, alarm(since=13 * HOUR, ended=HOUR / 2, by="operator")) is Verdict.LEAVE
    assert RULE.slows(alarm(since=11.9 * HOUR), NOW)
    assert not RULE.slows(alarm(since=12 * HOUR), NOW)


def test_soon_after_its_end_it_is_the_same_alarm_again_and_asks_for_more_to_end() -> None:
    assert judged(200, 100, alarm(since=HOUR, ended=HOUR / 2)) is Verdict.RAISE_AGAIN
    assert judged(200, 100, alarm(since=3 * HOUR, ended=2 * HOUR)) is Verdict.RAISE
    assert [RULE.needed(alarm(since=HOUR, times=times)) for times in (1, 2, 3, 7, 50)] == [200, 400, 800, 12800, 12800]


def test_what_an_operator_has_ended_does_not_come_again_for_a_window() -> None:
    assert judged(5000, 5000, alarm(since=HOUR, ended=HOUR / 2, by="operator")) is Verdict.LEAVE
    assert judged(5000, 5000, alarm(since=3 * HOUR, ended=HOUR * 1.1, by="operator")) is Verdict.RAISE


def test_what_has_led_to_an_alarm_does_not_count_for_its_end_nor_for_the_next() -> None:
    assert RULE.counts_since(NOW, None) == NOW - HOUR
    assert RULE.counts_since(NOW, alarm(since=HOUR / 3)) == NOW - HOUR / 3
    assert RULE.counts_since(NOW, alarm(since=HOUR / 2, ended=HOUR / 4)) == NOW - HOUR / 4
    assert RULE.counts_since(NOW, alarm(since=9 * HOUR, ended=8 * HOUR)) == NOW - HOUR


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 10), st.sampled_from([HOUR / 2, 2 * HOUR]))
def test_no_tally_both_ends_an_alarm_and_raises_it(events: int, share: float, times: int, since: timedelta) -> None:
    bad = int(events * share)
    ends = judged(events, bad, alarm(since=since, times=times)) is Verdict.END
    assert not (ends and judged(events, bad) is Verdict.RAISE)


def test_it_is_told_in_counts_and_reasons() -> None:
    tally = Tally(events=5000, malformed=4990, unknown=5, engagements=300, without_id=299)
    assert raised_sentence(POISON, tally, {"field_invalid": 4990}, slows=True) == (
        "the drain is slowed: of the last 5000 events 4990 could not be read (field_invalid 4990), and 5 are of a type"
        " or status that this release does not know"
    )
    assert raised_sentence(POISON, tally, {}, slows=False).startswith("alarm: of the last 5000 events")
    assert raised_sentence(ID_MISSING, tally, {}, slows=True).startswith(
        "299 of 300 engagement events carry no internetMessageId"
    )
