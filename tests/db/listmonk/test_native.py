"""listmonk's pixel and redirect count the same acts: each is counted once, whichever comes first."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from db.events import record_events
from db.listmonk.matching import Act
from db.listmonk.native import Tally
from db.results import Results
from db.tracking import track_messages
from simulator import listmonk as fake
from tests.db.listmonk.counts import clicks, record, uncounted, views, watch
from tests.db.listmonk.test_matching import most_pairs
from tests.db.rows import FIRST_WAIT, NOW, click, message
from tests.waiting import eventually

Listmonk = psycopg.Connection[Any]
OFFER = "https://www.example.com/offer"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def view(event_id: str, seconds: float = 0, **fields: Any) -> Any:
    return click(event_id, engagement_type="view", engagement_context="", event_timestamp=at(seconds), **fields)


@pytest.fixture(autouse=True)
def _tracked(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message()])


def test_a_native_view_that_came_first_counts_the_event(engine: Engine, listmonk: Listmonk) -> None:
    native = fake.view(listmonk, 7, 12, at(3))
    record(engine, view("v"))
    assert views(listmonk) == [(7, 12)]
    assert uncounted(engine) == {"v": ("native", native)}


def test_a_native_view_that_comes_later_counts_the_event(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    native = fake.view(listmonk, 7, 12, at(-3))
    assert watch(engine) == 1
    assert views(listmonk) == [(7, 12)]
    assert uncounted(engine) == {"v": ("native", native)}
    assert watch(engine) == 0


def test_a_native_click_counts_the_event_only_on_the_same_link(engine: Engine, listmonk: Listmonk) -> None:
    offer, other = fake.link(listmonk, OFFER), fake.link(listmonk, "https://www.example.com/other")
    fake.click(listmonk, 7, 12, other, at(1))
    record(engine, click("c"))
    assert len(clicks(listmonk)) == 2
    native = fake.click(listmonk, 7, 12, offer, at(1))
    watch(engine)
    assert [url for *_, url in clicks(listmonk)] == [OFFER, "https://www.example.com/other"]
    assert uncounted(engine) == {"c": ("native", native)}


@pytest.mark.parametrize(
    ("campaign", "subscriber", "seconds"), [(8, 12, 0), (7, 13, 0), (8, None, 0), (7, 12, 5.1), (7, 12, -5.1)]
)
def test_another_act_is_counted_beside_ours(
    engine: Engine, listmonk: Listmonk, campaign: int, subscriber: int | None, seconds: float
) -> None:
    fake.view(listmonk, campaign, subscriber, at(seconds))
    record(engine, view("v"))
    watch(engine)
    assert len(views(listmonk)) == 2
    assert uncounted(engine) == {"v": (None, None)}


def test_two_events_of_ours_seconds_apart_are_two_acts(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v1"), view("v2", 2))
    assert len(views(listmonk)) == 2
    fake.view(listmonk, 7, 12, at(1))
    watch(engine)
    assert len(views(listmonk)) == 2


def test_a_window_of_zero_counts_everything(engine: Engine, listmonk: Listmonk) -> None:
    off = Results(native_window=timedelta(0))
    fake.view(listmonk, 7, 12, at(0))
    record(engine, view("v"), results=off)
    watch(engine, off)
    assert len(views(listmonk)) == 2


def test_without_individual_tracking_nobodies_are_matched_with_nobodies(engine: Engine, listmonk: Listmonk) -> None:
    fake.set_setting(listmonk, "privacy.individual_tracking", False)
    fake.view(listmonk, 7, None, at(1))
    record(engine, view("v1"), view("v2", 3))
    assert views(listmonk) == [(7, None), (7, None)]


def test_a_native_row_that_commits_while_our_transaction_is_open_is_found_after_it(
    engine: Engine, listmonk: Listmonk
) -> None:
    results = Results()
    with engine.connect() as conn:
        recorded = record_events(conn, [], [view("v")], first_wait=FIRST_WAIT, jitter=0, results=results)
        fake.view(listmonk, 7, 12, at(1))
        assert watch(engine) == 0  # our row is invisible
        conn.commit()
    assert len(views(listmonk)) == 2  # without the second look it would stay so
    with engine.begin() as conn:
        assert results.absorb_native(conn, recorded.engagements) == 1
    assert views(listmonk) == [(7, 12)]


def test_a_native_row_that_is_open_while_we_commit_is_found_by_the_watch(engine: Engine, listmonk: Listmonk) -> None:
    with listmonk.transaction():
        fake.view(listmonk, 7, 12, at(1))
        record(engine, view("v"))
        for _ in range(3):
            assert watch(engine) == 0
    assert watch(engine) == 1
    assert views(listmonk) == [(7, 12)]


def test_the_watch_does_not_pass_a_row_that_is_not_committed_yet(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    with listmonk.transaction():
        fake.view(listmonk, 7, 12, at(1))  # draws a low id, and takes its time
        with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password, autocommit=True) as other:
            for n in range(3):
                fake.view(other, 8, n + 1, at(n))
                other.execute("UPDATE attribution_native_marks SET pending_at = now() - interval '1 hour'")
                watch(engine)
            assert other.execute(
                "SELECT seen_id < (SELECT min(id) FROM campaign_views WHERE id > 0)"
                " FROM attribution_native_marks WHERE engagement_type = 'view'"
            ).fetchone() == (True,)
    assert watch(engine) == 1
    assert (7, 12) in views(listmonk)
    assert len([each for each in views(listmonk) if each == (7, 12)]) == 1


def test_the_watch_does_not_read_the_same_rows_for_ever(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    newest = [fake.view(listmonk, 8, n + 1, at(n)) for n in range(3)][-1]
    for _ in range(2):
        listmonk.execute("UPDATE attribution_native_marks SET pending_at = now() - interval '1 hour'")
        watch(engine)
    assert listmonk.execute(
        "SELECT seen_id FROM attribution_native_marks WHERE engagement_type = 'view'"
    ).fetchone() == (newest,)


def test_two_batches_that_want_one_native_row_share_it_fairly(engine: Engine, listmonk: Listmonk) -> None:
    native = fake.view(listmonk, 7, 12, at(1))
    results = Results()
    with engine.connect() as first:
        record_events(first, [], [view("v1")], first_wait=FIRST_WAIT, jitter=0, results=results)  # holds the lock
        second = threading.Thread(target=lambda: record(engine, view("v2", 2)))
        second.start()
        with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password, autocommit=True) as observer:
            eventually(lambda: _assert_someone_waits(observer))
        first.commit()
    second.join(10)
    assert uncounted(engine) == {"v1": ("native", native), "v2": (None, None)}
    assert len(views(listmonk)) == 2


def _assert_someone_waits(observer: Listmonk) -> None:
    assert observer.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)


def test_two_watches_at_once_do_the_work_once(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    fake.view(listmonk, 7, 12, at(1))
    with engine.connect() as first:
        assert Results().watch_native(first).absorbed == 1
        assert watch(engine) == 0
        first.commit()
    assert views(listmonk) == [(7, 12)]


def test_native_rows_from_before_the_first_event_are_looked_at(engine: Engine, listmonk: Listmonk) -> None:
    for n in range(20):
        fake.view(listmonk, 7, 12, at(-1000 + n))
    record(engine, view("old", -995.5))
    assert len(views(listmonk)) == 20


def test_an_old_event_finds_its_native_row_under_many_newer_ones(engine: Engine, listmonk: Listmonk) -> None:
    fake.view(listmonk, 7, 12, at(-100_000))
    listmonk.execute(
        "INSERT INTO campaign_views (campaign_id, subscriber_id, created_at)"
        " SELECT 8, 1, now() - interval '1 day' + n * interval '10 s' FROM generate_series(1, 3000) AS n"
    )
    record(engine, view("late", -100_001))
    assert uncounted(engine)["late"][0] == "native"
    assert len([each for each in views(listmonk) if each == (7, 12)]) == 1


def test_the_watch_goes_through_many_rows_a_few_at_a_time(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, *(view(f"v{n}", 20 * n) for n in range(10)))
    for n in range(10):
        fake.view(listmonk, 7, 12, at(20 * n + 1))
    _let_time_pass(listmonk)
    absorbed, rounds, more = 0, 0, True
    while more:  # rows that are known to be all there, three by three, and the newest three each time
        with engine.begin() as conn:
            watched = Results().watch_native(conn, limit=3)
        absorbed, rounds, more = absorbed + watched.absorbed, rounds + 1, watched.more
        _let_time_pass(listmonk)
        assert rounds < 10
        if not more and absorbed < 10:
            more = True
    assert absorbed == 10
    assert len(views(listmonk)) == 10


def _let_time_pass(listmonk: Listmonk) -> None:
    listmonk.execute("UPDATE attribution_native_marks SET pending_at = now() - interval '1 hour'")


def test_a_row_that_commits_while_the_watch_is_reading_is_not_passed(
    engine: Engine, listmonk: Listmonk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(engine, view("v"))
    with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password) as slow:
        fake.view(slow, 7, 12, at(1))
        fake.view(listmonk, 8, 1, at(0))
        _let_time_pass(listmonk)
        watch(engine)  # the slow row's id is now pending
        _let_time_pass(listmonk)
        read = Tally._acts

        def commit_after_reading(tally: Tally, conn: Connection, query: str, **parameters: object) -> list[Act]:
            found = read(tally, conn, query, **parameters)
            if query == "list_newest_native":
                slow.commit()
            return found

        monkeypatch.setattr(Tally, "_acts", commit_after_reading)
        watch(engine)
    monkeypatch.undo()
    _let_time_pass(listmonk)
    watch(engine)
    assert len([each for each in views(listmonk) if each == (7, 12)]) == 1


def test_events_that_arrive_late_do_not_hide_earlier_ones_from_the_watch(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    record(engine, *(view(f"late {n}", -86_400 - n) for n in range(600)))
    fake.view(listmonk, 7, 12, at(1))
    assert watch(engine) == 1
    assert uncounted(engine)["v"][0] == "native"


@pytest.mark.parametrize("native_first", [True, False])
def test_an_act_is_counted_once_though_listmonk_stops_naming_readers_in_between(
    engine: Engine, listmonk: Listmonk, native_first: bool
) -> None:
    if native_first:
        fake.view(listmonk, 7, 12, at(1))
        fake.set_setting(listmonk, "privacy.individual_tracking", False)
        record(engine, view("v"))
    else:
        record(engine, view("v"))
        fake.set_setting(listmonk, "privacy.individual_tracking", False)
        fake.view(listmonk, 7, None, at(1))
        watch(engine)
    assert len(views(listmonk)) == 1


def test_a_mail_to_several_people_may_be_opened_by_any_of_them(engine: Engine, listmonk: Listmonk) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message("<several@example.com>", subscriber=None)])
    fake.view(listmonk, 7, 12, at(1))
    record(engine, view("v", internet_message_id="<several@example.com>"))
    assert views(listmonk) == [(7, 12), (7, None)]


def test_what_is_left_of_a_deleted_reader_is_not_matched_again(engine: Engine, listmonk: Listmonk) -> None:
    fake.view(listmonk, 7, 12, at(1))
    record(engine, view("v1"), view("v2", 4))
    assert len(views(listmonk)) == 2
    listmonk.execute("DELETE FROM subscribers WHERE id = 12")
    watch(engine)
    assert views(listmonk) == [(7, None), (7, None)]


def test_a_campaign_of_nobodies_is_one_long_chain_and_no_harm(engine: Engine, listmonk: Listmonk) -> None:
    fake.set_setting(listmonk, "privacy.individual_tracking", False)
    listmonk.execute(
        "INSERT INTO campaign_views (campaign_id, created_at)"
        " SELECT 7, CAST(%s AS timestamptz) + n * interval '4 s' FROM generate_series(0, 1499) AS n",
        [NOW],
    )
    record(engine, *(view(f"v{n}", 4 * n + 3) for n in range(1500)))
    assert len(views(listmonk)) == 1500


def test_native_rows_without_a_time_are_nobodys(engine: Engine, listmonk: Listmonk) -> None:
    listmonk.execute(
        "INSERT INTO campaign_views (campaign_id, subscriber_id, created_at) VALUES (7, 12, NULL), (7, 12, 'infinity')"
    )
    record(engine, view("v"))
    watch(engine)
    assert len(views(listmonk)) == 3


def test_the_watch_waits_for_a_campaign_that_is_being_deleted(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v"))
    fake.view(listmonk, 7, 12, at(1))
    done: list[int] = []
    with listmonk.transaction():
        listmonk.execute("DELETE FROM campaigns WHERE id = 7")
        watching = threading.Thread(target=lambda: done.append(watch(engine)))
        watching.start()
        with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password, autocommit=True) as observer:
            eventually(lambda: _assert_someone_waits(observer))
    watching.join(10)
    assert done
    assert views(listmonk) == []


moments = st.lists(st.integers(0, 24), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ours=moments, native=moments, data=st.data())
def test_in_whatever_order_they_come_each_act_is_counted_once(
    engine: Engine, listmonk: Listmonk, ours: list[int], native: list[int], data: st.DataObject
) -> None:
    listmonk.execute(
        "TRUNCATE campaign_views RESTART IDENTITY; TRUNCATE azure_engagement_events, attribution_native_marks"
    )
    come = data.draw(st.permutations([("ours", n, s) for n, s in enumerate(ours)] + [("native", 0, s) for s in native]))
    for side, number, seconds in come:
        if side == "ours":
            record(engine, view(f"v{number}", seconds))
        else:
            fake.view(listmonk, 7, 12, at(seconds))
        if data.draw(st.booleans()):
            watch(engine)
    watch(engine)
    acts = [[Act(n, 7, 12, None, at(s)) for n, s in enumerate(each)] for each in (ours, native)]
    assert len(views(listmonk)) == len(ours) + len(native) - most_pairs(acts[0], acts[1])
    with engine.begin() as conn:  # every event is counted by exactly one row
        counted = conn.execute(
            text(
                "SELECT count(*) FROM azure_engagement_events AS e"
                " JOIN campaign_views AS v ON v.id IN (-e.id, e.native_id)"
            )
        ).scalar_one()
    assert counted == len(ours)
