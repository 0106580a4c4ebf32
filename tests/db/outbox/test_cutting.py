"""Into the outbox with the transaction that attributes, and out of it in batches."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine

from db.outbox import enqueue
from tests.db.outbox.sending import execute, fail, fill, insert_deliveries, insert_engagements, sure, taken, unsent


def test_an_event_is_told_if_and_only_if_its_transaction_commits(engine: Engine) -> None:
    with engine.connect() as conn:
        enqueue(conn, engagements=insert_engagements(conn, 1), deliveries=insert_deliveries(conn, 1))
        assert taken(engine) is None
        conn.rollback()
    assert taken(engine) is None
    fill(engine, engagements=1, deliveries=1)
    assert [event["kind"] for event in sure(taken(engine)).events] == ["delivery", "engagement"]


def test_nothing_to_tell_is_nothing_written(engine: Engine) -> None:
    with engine.begin() as conn:
        enqueue(conn, engagements=[], deliveries=[])
    assert unsent(engine) == 0


def test_events_come_with_what_there_is_to_tell_and_no_word_of_an_smtp_server(engine: Engine) -> None:
    fill(engine, engagements=1, deliveries=1)
    by_kind = {event["kind"]: event for event in sure(taken(engine)).events}
    common = {"event_key", "event_id", "kind", "campaign_id", "subscriber_id", "internet_message_id"}
    common |= {"azure_message_id", "occurred_at", "received_at", "attributed_at", "matched_by"}
    assert set(by_kind["engagement"]) == common | {"type", "url", "user_agent", "uncounted"}
    assert set(by_kind["delivery"]) == common | {"status", "bounce_type"}
    assert (by_kind["delivery"]["status"], by_kind["delivery"]["bounce_type"]) == ("Bounced", "hard")
    assert "ada@" not in str(by_kind)


def test_a_row_of_the_replaced_system_is_told_by_a_key_that_stays(engine: Engine) -> None:
    fill(engine, engagements=1)
    execute(engine, "UPDATE azure_engagement_events SET event_key = NULL, event_id = NULL")
    webhook = sure(taken(engine))
    fail(engine, webhook, wait=timedelta(0))
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now()")
    assert isinstance(webhook.events[0]["event_key"], UUID)
    assert sure(taken(engine)).events[0]["event_key"] == webhook.events[0]["event_key"]


def test_unsent_events_are_cut_oldest_first_into_batches_of_at_most_so_many(engine: Engine) -> None:
    fill(engine, engagements=3)
    fill(engine, deliveries=4)
    batches = [sure(taken(engine, batch=3)) for _ in range(3)]
    assert [len(batch.events) for batch in batches] == [3, 3, 1]
    assert {event["kind"] for event in batches[0].events} == {"engagement"}
    assert taken(engine, batch=3) is None
    assert unsent(engine) == 0
    keys = {event["event_key"] for batch in batches for event in batch.events}
    assert len(keys) == 7
    assert len({batch.id for batch in batches}) == 3


def test_events_of_a_batch_are_in_the_order_in_which_they_happened(engine: Engine) -> None:
    fill(engine, engagements=5, deliveries=5)
    happened = [event["occurred_at"] for event in sure(taken(engine)).events]
    assert happened == sorted(happened)
