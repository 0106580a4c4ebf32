"""Events of a campaign that listmonk has deleted, and of their neighbours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.errors import Fault, fault_of
from db.parking import release, sweep
from db.tracking import message_ids
from tests.db.listmonk.acts import LOST, Listmonk, track, view
from tests.db.listmonk.counts import record, views
from tests.db.rows import FIRST_WAIT, message, stored


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
