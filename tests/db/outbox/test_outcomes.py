"""What becomes of a batch: delivered, waiting, given up, or held while the other side is away."""

from __future__ import annotations

from sqlalchemy import Engine

from db.outbox import Failure, count_webhooks, retry_now
from tests.db.outbox.sending import (
    deliver,
    execute,
    fail,
    fill,
    fill_one_more,
    seconds_to_next_attempt,
    states,
    sure,
    taken,
    unsent,
)


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
