"""A batch is leased to one sender at a time, and comes free when its sender dies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.outbox import only_sender, take
from tests.db.outbox.sending import LEASE, deliver, execute, fail, fill, states, sure, taken


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
