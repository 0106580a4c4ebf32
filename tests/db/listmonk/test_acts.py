"""Attributed events in listmonk's tables: views, clicks, bounces, each in the transaction that attributes it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, text

from db.errors import Fault, fault_of
from db.events import record_events
from db.parking import release, sweep
from db.results import Results
from db.tracking import message_ids, track_messages
from simulator import listmonk as fake
from tests.db.listmonk.counts import clicks, record, uncounted, views
from tests.db.rows import FIRST_WAIT, NOW, azure_id, click, message, report, stored
from tests.waiting import eventually

Listmonk = psycopg.Connection[Any]
OFFER = "https://www.example.com/offer"
LOST = "<lost@example.com>"


def track(engine: Engine, *messages: Any) -> None:
    with engine.begin() as conn:
        track_messages(conn, messages or [message()])


def view(event_id: str, message: str | None = "<m@example.com>", **fields: Any) -> Any:
    return click(event_id, message, **{"engagement_type": "view", "engagement_context": ""} | fields)


def incidents(listmonk: Listmonk) -> list[tuple[str, dict[str, Any]]]:
    return listmonk.execute("SELECT kind, details FROM attribution_incidents ORDER BY id").fetchall()


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


def test_clicks_of_different_readers_share_one_link(engine: Engine, listmonk: Listmonk) -> None:
    readers = [str(uuid) for (uuid,) in listmonk.execute("SELECT uuid FROM subscribers WHERE id IN (1, 2) ORDER BY id")]
    track(engine, message("<1@example.com>", subscriber=1), message("<2@example.com>", subscriber=2))
    results = Results(personal_parameters={"uid"})
    record(
        engine,
        *(
            click(f"{n}{k}", f"<{n}@example.com>", engagement_context=url.format(n=n, reader=readers[n - 1]))
            for n in (1, 2)
            for k, url in enumerate(
                [
                    "https://shop.example.com/?uid={n}&x=1",
                    "https://SHOP.example.com/?x=1&who={reader}",
                    "https://shop.example.com/?x=1&to=reader{n}%40example.net",
                ]
            )
        ),
        results=results,
    )
    assert listmonk.execute("SELECT url FROM links").fetchall() == [("https://shop.example.com/?x=1",)]
    assert [row[:2] for row in clicks(listmonk)] == [(7, 1)] * 3 + [(7, 2)] * 3


def test_a_tracked_link_is_counted_as_the_link_it_stands_for(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, OFFER)
    track(engine)
    record(engine, click("c", engagement_context=fake.tracked_link(listmonk, link, 7, 12)))
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert listmonk.execute("SELECT count(*) FROM links").fetchone() == (1,)


def test_a_link_that_listmonk_registered_in_these_words_is_that_link(engine: Engine, listmonk: Listmonk) -> None:
    url = "https://www.example.com/plans?sub=basic"
    fake.link(listmonk, url)
    track(engine)
    record(engine, click("c", engagement_context=url), results=Results(personal_parameters={"sub"}))
    assert clicks(listmonk) == [(7, 12, url)]


def test_unsubscribe_clicks_and_clicks_on_nothing_are_stored_and_not_counted(
    engine: Engine, listmonk: Listmonk
) -> None:
    track(engine)
    record(
        engine,
        click("way out", uncounted="unsubscribe_link", engagement_context="https://example.com/unsubscribe"),
        click("nothing", engagement_context=" "),
        click("odd", engagement_type="hover", uncounted="unknown_type"),
    )
    assert clicks(listmonk) == []
    assert {event: why for event, (why, _) in uncounted(engine).items()} == {
        "way out": "unsubscribe_link",
        "nothing": "no_url",
        "odd": "unknown_type",
    }
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}


def test_a_tracked_link_that_leads_out_is_not_counted(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, "https://www.example.com/unsubscribe")
    track(engine)
    record(engine, click("c", engagement_context=fake.tracked_link(listmonk, link, 7, 12)))
    assert clicks(listmonk) == []
    assert uncounted(engine) == {"c": ("unsubscribe_link", None)}


def test_readers_are_kept_out_of_links_though_the_message_names_none(engine: Engine, listmonk: Listmonk) -> None:
    readers = [str(uuid) for (uuid,) in listmonk.execute("SELECT uuid FROM subscribers WHERE id < 6")]
    track(engine, message(subscriber=None))
    urls = ["https://e.example.com/hello/{}", "https://e.example.com/?s={}", "https://e.example.com/u/{}@example.net"]
    record(
        engine,
        *(
            click(f"{n} {reader}", engagement_context=url.format(reader))
            for n, url in enumerate(urls)
            for reader in readers
        ),
    )
    assert len(readers) == 5
    assert sorted({url for *_, url in clicks(listmonk)}) == [
        "https://e.example.com/",
        "https://e.example.com/hello/00000000-0000-0000-0000-000000000000",
        "https://e.example.com/u/nobody",
    ]


def test_two_batches_adding_the_same_links_at_once_both_succeed(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    with listmonk.transaction():  # another batch has added it and not committed yet
        listmonk.execute("INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), %s)", [OFFER])
        thread = threading.Thread(target=lambda: record(engine, click("c")))
        thread.start()
        with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password, autocommit=True) as observer:
            eventually(lambda: _assert_someone_waits(observer))
    thread.join(10)
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert listmonk.execute("SELECT count(*) FROM links").fetchone() == (1,)


def _assert_someone_waits(observer: Listmonk) -> None:
    assert observer.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)


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


def links_uuids(listmonk: Listmonk, campaign: int, subscriber: int) -> dict[str, Any]:
    row = listmonk.execute(
        "SELECT c.uuid, s.uuid FROM campaigns AS c, subscribers AS s WHERE c.id = %s AND s.id = %s",
        [campaign, subscriber],
    ).fetchone()
    assert row is not None
    return {"link_campaign": row[0].bytes, "link_subscriber": row[1].bytes}


def test_a_click_whose_message_nobody_tracked_is_attributed_by_its_link(engine: Engine, listmonk: Listmonk) -> None:
    recorded = record(engine, click("c", LOST, **links_uuids(listmonk, 9, 33)))
    assert recorded.attributed == {"link": 1}
    assert stored(engine) == {"c": ("attributed", 9, 33, "link")}
    assert clicks(listmonk) == [(9, 33, OFFER)]


def test_a_link_of_another_listmonk_names_nobody(engine: Engine) -> None:
    stranger = UUID(int=1).bytes
    record(engine, click("c", LOST, link_campaign=stranger, link_subscriber=stranger))
    assert stored(engine)["c"][0] == "parked"


def test_two_keys_that_agree_make_no_incident(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, click("c", **links_uuids(listmonk, 7, 12)))
    assert incidents(listmonk) == []
    row = listmonk.execute("SELECT link_campaign_id, link_subscriber_id FROM azure_engagement_events").fetchone()
    assert row == (7, 12)


@pytest.mark.parametrize(("campaign", "subscriber"), [(8, 12), (7, 13), (8, 13)])
def test_two_keys_that_disagree_are_an_incident_and_the_message_is_believed(
    engine: Engine, listmonk: Listmonk, campaign: int, subscriber: int
) -> None:
    track(engine)
    for _ in range(2):
        record(engine, click("c", **links_uuids(listmonk, campaign, subscriber)))
    assert stored(engine) == {"c": ("attributed", 7, 12, "internet_message_id")}
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert incidents(listmonk) == [
        (
            "keys_disagree",
            {
                "message": {"campaign_id": 7, "subscriber_id": 12},
                "link": {"campaign_id": campaign, "subscriber_id": subscriber},
            },
        )
    ]


def test_keys_that_turn_out_to_disagree_when_the_message_is_tracked_are_an_incident(
    engine: Engine, listmonk: Listmonk
) -> None:
    record(engine, click("c", LOST, **links_uuids(listmonk, 9, 33)))
    track(engine, message(LOST, campaign=7, subscriber=33))
    with engine.begin() as conn:
        release(conn, message_ids([message(LOST)]))
    assert stored(engine) == {"c": ("attributed", 9, 33, "link")}
    assert [kind for kind, _ in incidents(listmonk)] == ["keys_disagree"]
    assert clicks(listmonk) == [(9, 33, OFFER)]


def test_they_are_compared_as_well_if_the_message_is_known_by_azures_id(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, click("c", None, azure_id(1), **links_uuids(listmonk, 9, 33)))
    late = message(None, campaign=7, subscriber=33, azure=azure_id(1))
    track(engine, late)
    with engine.begin() as conn:
        release(conn, message_ids([late]))
    assert [kind for kind, _ in incidents(listmonk)] == ["keys_disagree"]


def test_an_event_of_a_campaign_deleted_before_it_came_parks_alone(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(), message("<gone@example.com>", campaign=8))
    listmonk.execute("DELETE FROM campaigns WHERE id = 8")
    record(engine, view("gone", "<gone@example.com>"), view("there"))
    assert {event: state for event, (state, *_) in stored(engine).items()} == {"gone": "parked", "there": "attributed"}
    assert views(listmonk) == [(7, 12)]


def orphan(engine: Engine, listmonk: Listmonk, internet_message_id: str) -> None:
    """Track a message of a campaign that is not there, as foreign keys that are not validated allow."""
    listmonk.execute("SET session_replication_role = replica")
    track_orphan = (
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via) VALUES (%s, 999, 'x')"
    )
    listmonk.execute(track_orphan, [internet_message_id])
    listmonk.execute("SET session_replication_role = DEFAULT")


def test_a_sweep_expires_what_belongs_to_a_deleted_campaign_and_goes_on(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("orphan", LOST), view("fine", "<fine@example.com>"))
    orphan(engine, listmonk, LOST)
    track(engine, message("<fine@example.com>"))
    with engine.begin() as conn:
        conn.execute(text("UPDATE azure_engagement_events SET next_attempt_at = now()"))
        swept = sweep(conn, waits=[FIRST_WAIT], jitter=0, deadline=timedelta(days=7), limit=10)
    assert (swept.attributed, swept.expired) == (1, 1)
    assert listmonk.execute(
        "SELECT event_id, expired_reason FROM azure_engagement_events WHERE state = 'expired'"
    ).fetchall() == [("orphan", "deleted")]
    assert views(listmonk) == [(7, 12)]


def test_a_release_leaves_what_belongs_to_a_deleted_campaign(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, view("orphan", LOST), view("fine", "<fine@example.com>"))
    orphan(engine, listmonk, LOST)
    track(engine, message("<fine@example.com>"))
    with engine.begin() as conn:
        released = release(conn, message_ids([message(LOST), message("<fine@example.com>")]))
    assert released.events == 1
    assert stored(engine)["orphan"][0] == "parked"


def test_a_campaign_deleted_while_a_batch_is_recorded_fails_for_a_reason_that_lies_in_the_data(
    engine: Engine, listmonk: Listmonk
) -> None:
    orphan(engine, listmonk, LOST)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - judged below
        record(engine, view("orphan", LOST))
    assert fault_of(failed.value) is Fault.DATA


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


def test_details_of_incidents_hold_numbers_only(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, click("c", **links_uuids(listmonk, 8, 12)))
    assert "@" not in json.dumps(incidents(listmonk)[0][1])
