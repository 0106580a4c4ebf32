"""Attributed events in listmonk's tables: views, clicks, bounces, each in the transaction that attributes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.events import record_events
from db.parking import release, sweep
from db.results import Results
from db.tracking import message_ids
from simulator import listmonk as fake
from tests.db.listmonk.acts import LOST, OFFER, Listmonk, track, view
from tests.db.listmonk.counts import clicks, record, uncounted, views
from tests.db.rows import FIRST_WAIT, NOW, click, message, report, stored


def test_a_view_and_a_click_are_counted_with_the_time_of_the_event(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, view("v"), click("c", event_timestamp=NOW - timedelta(minutes=3)))
    assert listmonk.execute("SELECT campaign_id, subscriber_id, created_at FROM campaign_views").fetchall() == [
        (7, 12, NOW)
    ]
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert listmonk.execute("SELECT created_at FROM link_clicks").fetchone() == (NOW - timedelta(minutes=3),)
    assert uncounted(engine) == {"v": (None, None), "c": (None, None)}


def test_a_row_of_ours_has_the_id_of_its_event_negated(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, view("v"))
    assert listmonk.execute("SELECT v.id + e.id FROM campaign_views AS v, azure_engagement_events AS e").fetchall() == [
        (0,)
    ]


def test_a_redelivered_event_is_counted_once(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    for _ in range(2):
        record(engine, view("v"), click("c"), report("d", status="Bounced", bounce_type="hard"))
    assert (len(views(listmonk)), len(clicks(listmonk))) == (1, 1)
    assert listmonk.execute("SELECT count(*) FROM bounces").fetchone() == (1,)


def test_parked_events_are_counted_when_they_are_released(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v", LOST), click("c", LOST), report("d", LOST, status="Bounced", bounce_type="soft"))
    assert (views(listmonk), clicks(listmonk)) == ([], [])
    track(engine, message(LOST))
    for _ in range(2):
        with engine.begin() as conn:
            release(conn, message_ids([message(LOST)]))
    assert (views(listmonk), clicks(listmonk)) == ([(7, 12)], [(7, 12, OFFER)])
    assert listmonk.execute("SELECT subscriber_id, campaign_id, type::text FROM bounces").fetchall() == [
        (12, 7, "soft")
    ]


def test_parked_events_are_counted_when_a_sweep_finds_their_message(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("v", LOST))
    track(engine, message(LOST))
    with engine.begin() as conn:
        conn.execute(text("UPDATE azure_engagement_events SET next_attempt_at = now()"))
        sweep(conn, waits=[FIRST_WAIT], jitter=0, deadline=timedelta(days=7), limit=10)
    assert views(listmonk) == [(7, 12)]


def test_what_a_batch_attributes_and_counts_commits_together(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    with engine.connect() as conn:
        record_events(conn, [], [view("v")], first_wait=FIRST_WAIT, jitter=0)
        conn.rollback()
    assert views(listmonk) == []
    assert stored(engine) == {}


def test_without_individual_tracking_nobody_is_named(engine: Engine, listmonk: Listmonk) -> None:
    fake.set_setting(listmonk, "privacy.individual_tracking", False)
    track(engine)
    record(engine, view("v"), click("c"))
    assert (views(listmonk), clicks(listmonk)) == ([(7, None)], [(7, None, OFFER)])
    assert stored(engine)["v"][:3] == ("attributed", 7, 12)  # our own row knows, as the mailer told us


def test_with_tracking_disabled_nothing_is_counted_and_the_events_say_so(engine: Engine, listmonk: Listmonk) -> None:
    fake.set_setting(listmonk, "privacy.disable_tracking", True)
    track(engine)
    record(engine, view("v"), click("c"), report("d", status="Bounced", bounce_type="hard"))
    assert (views(listmonk), clicks(listmonk)) == ([], [])
    assert uncounted(engine) == {"v": ("tracking_disabled", None), "c": ("tracking_disabled", None)}
    assert listmonk.execute("SELECT count(*) FROM bounces").fetchone() == (1,)


def test_settings_are_read_afresh(engine: Engine, listmonk: Listmonk, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results()
    track(engine)
    record(engine, view("v1"), results=results)
    fake.set_setting(listmonk, "privacy.disable_tracking", True)
    clock = iter([10.0**9, 10.0**9 + 1, 10.0**9 + 2, 10.0**9 + 3])
    monkeypatch.setattr("db.results.time.monotonic", lambda: next(clock))
    record(engine, view("v2"), results=results)
    assert views(listmonk) == [(7, 12)]


def test_a_bounce_is_linked_to_its_campaign(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(
        engine,
        report("b", status="Bounced", status_reason="550 5.1.1", bounce_type="hard"),
        report("ok", status="Delivered"),
        report("odd", status="Teleported"),
    )
    rows = listmonk.execute(
        "SELECT subscriber_id, campaign_id, type::text, source, meta, created_at FROM bounces"
    ).fetchall()
    (row,) = rows
    assert row[:4] == (12, 7, "hard", "azure")
    assert {**row[4], "event_row": None} == {
        "event_row": None,
        "event_id": "b",
        "status": "Bounced",
        "reason": "550 5.1.1",
    }
    assert row[5] == NOW
    assert len(stored(engine, "azure_delivery_events")) == 3  # unknown statuses are kept


def test_a_bounce_of_nobody_in_particular_has_no_row(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(subscriber=None))
    record(engine, report("b", status="Bounced", bounce_type="hard"))
    assert listmonk.execute("SELECT count(*) FROM bounces").fetchone() == (0,)
    assert stored(engine, "azure_delivery_events")["b"][0] == "attributed"


def test_tables_of_a_later_listmonk_with_more_columns_are_served(engine: Engine, listmonk: Listmonk) -> None:
    listmonk.execute("ALTER TABLE campaign_views ADD COLUMN country text; ALTER TABLE link_clicks ADD COLUMN note text")
    track(engine)
    record(engine, view("v"), click("c"))
    assert (len(views(listmonk)), len(clicks(listmonk))) == (1, 1)


def test_without_its_tables_of_acts_events_are_attributed_all_the_same(engine: Engine, listmonk: Listmonk) -> None:
    listmonk.execute("DROP TABLE campaign_views, link_clicks, links, bounces, settings")
    track(engine)
    record(engine, view("v"), click("c"), report("b", status="Bounced", bounce_type="hard"))
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}
    assert uncounted(engine) == {"v": (None, None), "c": (None, None)}
