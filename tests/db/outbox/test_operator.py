"""What an operator does: counts, retries and drops."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Engine, text

from db.outbox import Dropped, Failure, count_unsent, count_webhooks, drop, list_webhooks, retry_now
from tests.db.outbox.sending import deliver, fail, fill, states, sure, taken, unsent


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
