"""What drain processes count together, and that of several at once one raises an alarm, ends it, or learns a name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from db import drift
from db.drift import ID_MISSING, POISON, Alarm, Tally
from tests.waiting import eventually


def tallies(engine: Engine, *events: int) -> datetime:
    """Keep tallies a minute apart, the last of them now; return an instant before all."""
    with engine.begin() as conn:
        for position, count in enumerate(events):
            drift.keep_tally(conn, Tally(count, malformed=position, engagements=1), {"not_json": position})
            conn.execute(
                text("UPDATE attribution_tallies SET counted_at = now() - make_interval(mins => :ago)"
                     " WHERE id = (SELECT max(id) FROM attribution_tallies)"),
                {"ago": len(events) - position},
            )  # fmt: skip
        return datetime.fromisoformat(conn.execute(text("SELECT CAST(now() - interval '1 day' AS text)")).scalar_one())


def alarm(engine: Engine, kind: str = POISON) -> Alarm:
    with engine.begin() as conn:
        found = drift.read_alarms(conn)[1][kind]
    assert found is not None
    return found


def at_once(engine: Engine, act: Callable[[Connection], object]) -> list[object]:
    """Have two transactions do the same, the second begun while the first has not committed; return what each got."""
    results: list[object] = []

    def second() -> None:
        with engine.begin() as conn:
            results.append(act(conn))

    with engine.connect() as first:
        results.append(act(first))
        other = threading.Thread(target=second)
        other.start()
        eventually(lambda: _assert_someone_waits(engine))
        first.commit()
    other.join(10)
    return results


def _assert_someone_waits(engine: Engine) -> None:
    with engine.begin() as conn:
        waiting = conn.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        ).scalar_one()
    assert waiting


def test_tallies_of_all_processes_add_up_since_an_instant(engine: Engine) -> None:
    before = tallies(engine, 10, 20, 30)
    with engine.begin() as conn:
        assert drift.add_up(conn, before) == Tally(60, malformed=3, engagements=3)
        assert drift.add_up(conn, before + timedelta(days=1) - timedelta(seconds=150)) == Tally(50, 3, engagements=2)
        assert drift.add_up_reasons(conn, before) == {"not_json": 3}
        assert drift.add_up(conn, before + timedelta(days=2)) == Tally()


def test_the_newest_are_as_many_as_hold_what_is_asked_for(engine: Engine) -> None:
    before = tallies(engine, 10, 20, 30)
    with engine.begin() as conn:
        assert drift.add_up_newest(conn, POISON, before, 30).events == 30
        assert drift.add_up_newest(conn, POISON, before, 31).events == 50
        assert drift.add_up_newest(conn, POISON, before, 1000).events == 60
        assert drift.add_up_newest(conn, ID_MISSING, before, 2) == Tally(50, 3, engagements=2)


def test_tallies_of_the_future_do_not_count(engine: Engine) -> None:
    before = tallies(engine, 10, 20, 30)
    with engine.begin() as conn:
        conn.execute(text("UPDATE attribution_tallies SET counted_at = now() + interval '1 hour' WHERE events = 30"))
        assert drift.add_up(conn, before).events == 30
        assert drift.add_up_newest(conn, POISON, before, 1).events == 20
        assert drift.add_up_reasons(conn, before) == {"not_json": 1}


def test_what_an_alarm_has_from_a_clock_that_was_ahead_happens_when_it_is_first_seen(engine: Engine) -> None:
    ahead = "2999-01-10T03:10:00+00:00"
    with engine.begin() as conn:
        drift.open_alarm(conn, POISON, 1, {"since": ahead, "ended_at": ahead, "ended_by": "operator", "events": 7})
        drift.open_alarm(conn, ID_MISSING, 1, {"ended_at": None})
        conn.execute(text("UPDATE attribution_incidents SET found_at = :ahead"), {"ahead": ahead})
    with engine.begin() as conn:
        now, alarms = drift.read_alarms(conn)
    for kind in (POISON, ID_MISSING):
        first = alarms[kind]
        assert first is not None
        assert (first.found_at, first.since) == (now, now)
        assert first.ended_at == (now if kind == POISON else None)
        assert alarm(engine, kind) == first


def test_what_is_not_ahead_stays_as_it_is(engine: Engine) -> None:
    details = {"since": "2026-01-10T03:10:00+00:00", "ended_at": None, "slows_until": "2026-01-10T15:10:00+00:00"}
    with engine.begin() as conn:
        drift.open_alarm(conn, POISON, 1, details)
        conn.execute(
            text("UPDATE attribution_incidents SET found_at = CAST(:at AS timestamptz)"), {"at": details["since"]}
        )
    assert alarm(engine).found_at == alarm(engine).since == datetime.fromisoformat("2026-01-10T03:10:00+00:00")
    with engine.begin() as conn:
        assert conn.execute(text("SELECT details FROM attribution_incidents")).scalar_one() == details


def test_of_two_that_see_at_once_that_an_alarm_is_ahead_one_dates_it(engine: Engine) -> None:
    with engine.begin() as conn:
        drift.open_alarm(conn, POISON, 1, {})
        conn.execute(text("UPDATE attribution_incidents SET found_at = '2999-01-10T03:10:00+00:00'"))
    first, second = at_once(engine, lambda conn: drift.read_alarms(conn)[1][POISON])
    assert first == second


def test_of_two_that_raise_an_alarm_at_once_one_does(engine: Engine) -> None:
    assert at_once(engine, lambda conn: drift.open_alarm(conn, POISON, 1, {})) == [True, False]
    assert (alarm(engine).number, alarm(engine).ended_at, alarm(engine).times) == (1, None, 1)


def test_of_two_that_end_it_at_once_one_does_and_likewise_of_two_that_raise_it_again(engine: Engine) -> None:
    with engine.begin() as conn:
        drift.open_alarm(conn, POISON, 1, {})
    ended = {"ended_at": "2026-01-10T03:10:00+00:00", "ended_by": "itself"}
    opened = alarm(engine)
    assert at_once(engine, lambda conn: drift.end_alarm(conn, opened, ended)) == [True, False]
    assert alarm(engine).ended_by == "itself"
    again = {"since": "2026-01-10T03:20:00+00:00", "ended_at": None, "ended_by": None, "times": 2}
    assert at_once(engine, lambda conn: drift.open_again(conn, opened, again)) == [True, False]
    assert (alarm(engine).ended_at, alarm(engine).times) == (None, 2)
    assert alarm(engine).since > opened.since - timedelta(days=10_000)


def test_a_name_is_learnt_and_told_by_the_first_and_both_may_meet_them_in_any_order(engine: Engine) -> None:
    names = [("data_key", "region"), ("status", "OutForDelivery")]
    first, second = at_once(engine, lambda conn: drift.learn_names(conn, names[::-1]))
    assert (first, second) == (names, [])
    with engine.begin() as conn:
        assert drift.accepted_names(conn) == set()
        assert drift.dismiss_alarms(conn) == ([], 2)
        assert drift.accepted_names(conn) == set(names)


def test_each_kind_of_alarm_goes_its_own_way(engine: Engine) -> None:
    with engine.begin() as conn:
        for number in (1, 2):
            drift.open_alarm(conn, POISON, number, {})
        assert drift.read_alarms(conn)[1][ID_MISSING] is None
    assert alarm(engine).number == 2


@pytest.mark.parametrize("name", ["add_up", "add_up_newest", "add_up_reasons", "read_alarms"])
def test_no_query_has_to_read_a_whole_table(engine: Engine, name: str) -> None:
    parameters = {"since": datetime.fromisoformat("2026-01-10T03:10:00+00:00"), "events": 200}
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(conn.execute(text(f"EXPLAIN {drift._ANY[name].text}"), parameters).scalars())
    assert "Seq Scan on attribution_" not in plan, plan
