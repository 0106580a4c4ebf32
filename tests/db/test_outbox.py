"""The outbox: what is told, in batches that are leased to one sender at a time, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from db.engine import create_engine
from db.outbox import (
    Dropped,
    Failure,
    Webhook,
    count_unsent,
    count_webhooks,
    drop,
    enqueue,
    list_webhooks,
    note_delivered,
    note_failed,
    only_sender,
    retry_now,
    take,
)

LEASE = timedelta(seconds=90)
HOUR = timedelta(hours=1)

_EVENT = """
INSERT INTO {table} (event_key, event_id, internet_message_id, campaign_id, subscriber_id, event_timestamp, received_at,
                     state, matched_by, attributed_at, {columns})
SELECT md5('{table}' || n)::uuid, '{table} ' || n, '<m@example.com>', 7, 12, now() - n * interval '1 s', now(),
       'attributed', 'internet_message_id', now(), {values}
  FROM generate_series(1, :count) AS n
RETURNING id
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=8, for_batches=True)
    yield engine
    engine.dispose()


def insert_engagements(conn: Connection, count: int) -> list[int]:
    statement = _EVENT.format(
        table="azure_engagement_events",
        columns="engagement_type, engagement_context, user_agent",
        values="'click', 'https://www.example.com/offer', 'Mozilla/5.0'",
    )
    return list(conn.execute(text(statement), {"count": count}).scalars())


def insert_deliveries(conn: Connection, count: int) -> list[int]:
    statement = _EVENT.format(
        table="azure_delivery_events",
        columns="status, status_reason, delivery_status_details, bounce_type",
        values="'Bounced', 'unknown user ada@example.net', '550 5.1.1 ada@example.net', 'hard'",
    )
    return list(conn.execute(text(statement), {"count": count}).scalars())


def fill(engine: Engine, *, engagements: int = 0, deliveries: int = 0) -> None:
    with engine.begin() as conn:
        enqueue(
            conn,
            engagements=insert_engagements(conn, engagements),
            deliveries=insert_deliveries(conn, deliveries),
        )


def taken(engine: Engine, batch: int = 500) -> Webhook | None:
    with engine.begin() as conn:
        return take(conn, batch=batch, lease=LEASE)


def sure(webhook: Webhook | None) -> Webhook:
    assert webhook is not None
    return webhook


def fail(engine: Engine, webhook: Webhook, failure: Failure = Failure.AWAY, wait: timedelta | None = HOUR) -> bool:
    with engine.begin() as conn:
        return note_failed(conn, webhook, failure=failure, error="answered 503", wait=wait)


def deliver(engine: Engine, webhook: Webhook) -> None:
    with engine.begin() as conn:
        note_delivered(conn, webhook)


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def seconds_to_next_attempt(engine: Engine, webhook: Webhook) -> float:
    with engine.begin() as conn:
        return float(
            conn.execute(
                text("SELECT extract(epoch FROM next_attempt_at - now()) FROM attribution_webhooks WHERE id = :id"),
                {"id": webhook.id},
            ).scalar_one()
        )


def unsent(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(count_unsent(conn).events)


def states(engine: Engine) -> dict[UUID, str]:
    with engine.begin() as conn:
        return {row.id: row.state for row in list_webhooks(conn, limit=100)}


# Into the outbox, and into batches.


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


# Leases.


def test_two_senders_cut_different_events_and_neither_waits_for_the_other(engine: Engine) -> None:
    fill(engine, engagements=4)
    with engine.connect() as one, engine.connect() as other:
        first = sure(take(one, batch=3, lease=LEASE))
        second = sure(take(other, batch=3, lease=LEASE))
        assert take(other, batch=3, lease=LEASE) is None
        one.commit()
        other.commit()
    assert [len(first.events), len(second.events)] == [3, 1]
    assert not {e["event_key"] for e in first.events} & {e["event_key"] for e in second.events}


def test_a_due_batch_is_leased_by_one_of_two_senders_before_and_after_the_commit(engine: Engine) -> None:
    fill(engine, engagements=1)
    fail(engine, sure(taken(engine)), wait=timedelta(0))
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now()")
    with engine.connect() as one, engine.connect() as other:
        assert sure(take(one, batch=1, lease=LEASE)).attempts == 2
        assert take(other, batch=1, lease=LEASE) is None
        one.commit()
        assert take(other, batch=1, lease=LEASE) is None


def test_a_sender_whose_snapshot_is_older_than_the_others_lease_does_not_get_the_batch(engine: Engine) -> None:
    fill(engine, engagements=1)
    fail(engine, sure(taken(engine)), wait=timedelta(0))
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now() - interval '1 s'")
    with engine.connect() as late:
        late.execute(text("SELECT now()"))  # its transaction, and so its clock, begins before the other's
        sure(taken(engine))
        assert take(late, batch=1, lease=LEASE) is None


def test_a_batch_whose_sender_died_is_taken_again_by_the_same_id_when_the_lease_is_over(engine: Engine) -> None:
    fill(engine, engagements=2)
    first = sure(taken(engine))
    assert taken(engine) is None
    execute(engine, "UPDATE attribution_webhooks SET leased_until = now()")
    again = sure(taken(engine))
    assert (again.id, again.attempts, again.created_at) == (first.id, 2, first.created_at)
    assert again.events == first.events


def test_a_sender_that_outlived_its_lease_may_report_success_but_no_failure(engine: Engine) -> None:
    fill(engine, engagements=1)
    slow = sure(taken(engine))
    execute(engine, "UPDATE attribution_webhooks SET leased_until = now() - interval '1 s'")
    current = sure(taken(engine))
    assert not fail(engine, slow, wait=None)
    assert states(engine) == {current.id: "waiting"}
    deliver(engine, slow)
    assert states(engine) == {}
    assert not fail(engine, current)


def test_there_is_one_only_sender_until_it_ends_even_by_an_error(engine: Engine) -> None:
    def fail_as_only_sender() -> None:
        with only_sender(engine) as first:
            assert first
            with only_sender(engine) as second:
                assert not second
            with only_sender(engine) as third:  # what was refused took nothing away from the first
                assert not third
            raise KeyError

    with pytest.raises(KeyError):
        fail_as_only_sender()
    with only_sender(engine) as after:
        assert after


def test_a_sender_that_is_killed_leaves_the_place_free(engine: Engine) -> None:
    with only_sender(engine) as first:
        assert first
        execute(engine, "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks WHERE locktype = 'advisory'")
        with only_sender(engine) as second:
            assert second


# What becomes of a batch.


def test_what_was_delivered_is_forgotten(engine: Engine) -> None:
    fill(engine, engagements=1)
    deliver(engine, sure(taken(engine)))
    assert (states(engine), unsent(engine), taken(engine)) == ({}, 0, None)


def test_a_failed_batch_waits_and_up_to_a_tenth_more(engine: Engine) -> None:
    waits = []
    for _ in range(8):
        fill_one_more(engine)
        webhook = sure(taken(engine))
        assert fail(engine, webhook, Failure.REFUSED)
        waits.append(seconds_to_next_attempt(engine, webhook))
        assert taken(engine) is None
    assert all(3590 < wait <= 1.1 * 3600 for wait in waits)
    assert max(waits) - min(waits) > 1


def fill_one_more(engine: Engine) -> None:
    with engine.begin() as conn:
        row = conn.execute(
            text(
                "INSERT INTO azure_engagement_events (event_key, engagement_type, campaign_id, event_timestamp, state)"
                " VALUES (gen_random_uuid(), 'view', 7, now(), 'attributed') RETURNING id"
            )
        ).scalar_one()
        enqueue(conn, engagements=[row], deliveries=[])


def test_a_batch_that_is_given_up_is_kept_and_tried_no_more(engine: Engine) -> None:
    fill(engine, engagements=2)
    webhook = sure(taken(engine))
    assert fail(engine, webhook, Failure.REFUSED, wait=None)
    assert states(engine) == {webhook.id: "given_up"}
    assert taken(engine) is None
    with engine.begin() as conn:
        assert retry_now(conn, [webhook.id]) == 1
    again = sure(taken(engine))
    assert (again.id, again.attempts, again.events) == (webhook.id, 1, webhook.events)


def test_deleted_events_are_left_out_and_a_batch_of_which_none_is_left_is_dropped(engine: Engine) -> None:
    fill(engine, engagements=2)
    fill(engine, deliveries=2)
    for _ in range(2):
        assert fail(engine, sure(taken(engine, batch=2)), Failure.REFUSED)
    execute(engine, "DELETE FROM azure_engagement_events")
    execute(engine, "DELETE FROM azure_delivery_events WHERE event_id = 'azure_delivery_events 1'")
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now()")
    assert [event["event_id"] for event in sure(taken(engine)).events] == ["azure_delivery_events 2"]
    assert len(states(engine)) == 1


def test_while_the_other_side_is_away_one_new_batch_a_minute_tries_its_luck(engine: Engine) -> None:
    fill(engine, engagements=3)
    fail(engine, sure(taken(engine, batch=1)))
    assert taken(engine, batch=1) is None
    assert unsent(engine) == 2
    execute(engine, "UPDATE attribution_webhooks SET last_attempt_at = now() - interval '61 s'")
    fail(engine, sure(taken(engine, batch=1)))
    assert taken(engine, batch=1) is None
    assert unsent(engine) == 1


def test_a_batch_that_is_refused_holds_up_no_other(engine: Engine) -> None:
    fill(engine, engagements=2)
    fail(engine, sure(taken(engine, batch=1)), Failure.REFUSED)
    assert taken(engine, batch=1) is not None


def test_when_the_other_side_is_back_what_found_it_away_does_not_wait_for_hours(engine: Engine) -> None:
    fill(engine, engagements=4)
    refused = sure(taken(engine, batch=1))
    fail(engine, refused, Failure.REFUSED)
    long_ago, just_now = sure(taken(engine, batch=1)), sure(taken(engine, batch=1))
    last = sure(taken(engine, batch=1))
    fail(engine, long_ago)
    execute(engine, "UPDATE attribution_webhooks SET last_attempt_at = now() - interval '1 h' WHERE failure = 'away'")
    fail(engine, just_now)
    deliver(engine, last)
    assert seconds_to_next_attempt(engine, long_ago) <= 0
    assert 295 <= seconds_to_next_attempt(engine, just_now) <= 300
    assert seconds_to_next_attempt(engine, refused) > 3000
    fill_one_more(engine)
    assert sure(taken(engine)).id == long_ago.id
    assert len(sure(taken(engine)).events) == 1


def test_after_410_nothing_is_sent_until_an_operator_has_seen_to_it(engine: Engine) -> None:
    fill(engine, engagements=3)
    away, gone = sure(taken(engine, batch=1)), sure(taken(engine, batch=1))
    fail(engine, away)
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now(), last_attempt_at = now() - interval '1 h'")
    fail(engine, gone, Failure.GONE, wait=None)
    assert taken(engine) is None
    with engine.begin() as conn:
        assert [count.is_gone for count in count_webhooks(conn)] == [False, True]
        assert retry_now(conn, [gone.id]) == 1
    assert {sure(taken(engine, batch=1)).id for _ in range(2)} == {away.id, gone.id}


# What an operator does.


def test_a_batch_that_is_being_sent_is_not_sent_beside_that_by_a_retry(engine: Engine) -> None:
    fill(engine, engagements=1)
    webhook = sure(taken(engine))
    with engine.begin() as conn:
        assert retry_now(conn, None) == 1
        (row,) = list_webhooks(conn, limit=10)
        assert row.is_being_sent
    assert taken(engine) is None
    assert fail(engine, webhook)


def test_retry_takes_those_named_or_all(engine: Engine) -> None:
    fill(engine, engagements=3)
    webhooks = [sure(taken(engine, batch=1)) for _ in range(3)]
    for webhook in webhooks:
        fail(engine, webhook, Failure.REFUSED, wait=None)
    with engine.begin() as conn:
        assert retry_now(conn, [webhooks[0].id, uuid4()]) == 1
    assert sorted(states(engine).values()) == ["given_up", "given_up", "waiting"]
    with engine.begin() as conn:
        assert retry_now(conn, None) == 3
    assert set(states(engine).values()) == {"waiting"}


def test_drop_takes_those_named_those_given_up_or_everything(engine: Engine) -> None:
    fill(engine, engagements=9)
    named, given_up, waiting = (sure(taken(engine, batch=2)) for _ in range(3))
    fail(engine, given_up, Failure.REFUSED, wait=None)
    with engine.begin() as conn:
        assert drop(conn, [named.id, uuid4()]) == Dropped(1, 2)
        assert drop(conn, None, state="given_up") == Dropped(1, 2)
    assert states(engine) == {waiting.id: "waiting"}
    with engine.begin() as conn:
        assert drop(conn, None, unsent=True) == Dropped(1, 5)
    assert (states(engine), unsent(engine)) == ({}, 0)
    deliver(engine, waiting)  # whose sender finds it gone, and is none the worse for it


def test_what_waits_is_counted_with_the_oldest(engine: Engine) -> None:
    with engine.begin() as conn:
        assert tuple(count_unsent(conn)) == (0, None)
        assert count_webhooks(conn) == []
    fill(engine, engagements=1, deliveries=2)
    with engine.begin() as conn:
        counted = count_unsent(conn)
        assert counted.events == 3
        assert counted.oldest_at == conn.execute(text("SELECT min(attributed_at) FROM azure_delivery_events")).scalar()
    first = sure(taken(engine, batch=2))
    fail(engine, first, Failure.REFUSED, wait=None)
    second = sure(taken(engine, batch=2))
    with engine.begin() as conn:
        rows = [(row.state, row.batches, int(row.events), row.oldest_at) for row in count_webhooks(conn)]
        assert rows == [("waiting", 1, 1, second.created_at), ("given_up", 1, 2, first.created_at)]
        listed = [(row.id, row.events, row.attempts, row.last_error) for row in list_webhooks(conn, limit=1)]
        assert listed == [(first.id, 2, 1, "answered 503")]
