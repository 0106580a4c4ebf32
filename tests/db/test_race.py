"""The race between parking and tracking, forced in every order with real connections. No sleeps: a step is a line.

The drain looks a message up, finds nothing and parks; the mailer's tracking looks for parked events, finds nothing and
is done. If each looked before the other committed, they would miss each other for ever.
"""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text

from db.parking import release
from db.tracking import message_ids, track_messages
from tests.db.rows import click, message, record, release_in_new_transaction, report, stored
from tests.waiting import eventually

ATTRIBUTED = ("attributed", 7, 12, "internet_message_id")
PARKED = ("parked", None, None, None)


def test_tracking_that_commits_while_the_drain_is_uncommitted_is_found_by_the_drains_re_check(engine: Engine) -> None:
    with engine.connect() as drain, engine.connect() as mailer:
        recorded = record(drain, click("open"))  # reads the tracking table: nothing; parks, uncommitted
        track_messages(mailer, [message()])
        mailer.commit()
        assert release_in_new_transaction(engine, message_ids([message()])) == 0  # the event is still invisible
        drain.commit()
    assert stored(engine) == {"open": PARKED}  # without the re-check it would stay so for ever
    assert release_in_new_transaction(engine, recorded.unsettled) == 1
    assert stored(engine) == {"open": ATTRIBUTED}


def test_a_drain_that_commits_while_the_tracking_is_uncommitted_is_found_by_the_trackings_release(
    engine: Engine,
) -> None:
    with engine.connect() as drain, engine.connect() as mailer:
        track_messages(mailer, [message()])  # uncommitted
        recorded = record(drain, click("open"))
        drain.commit()
        assert release_in_new_transaction(engine, recorded.unsettled) == 0  # the tracking is still invisible
        assert stored(engine) == {"open": PARKED}
        mailer.commit()
    assert release_in_new_transaction(engine, message_ids([message()])) == 1
    assert stored(engine) == {"open": ATTRIBUTED}


@pytest.mark.parametrize("drain_first", [True, False])
def test_both_reading_before_either_commits_is_settled_by_whoever_looks_last(engine: Engine, drain_first: bool) -> None:
    with engine.connect() as drain, engine.connect() as mailer:
        recorded = record(drain, click("open"), report("delivered"))
        track_messages(mailer, [message()])
        for side in (drain, mailer) if drain_first else (mailer, drain):
            side.commit()
    checks = [recorded.unsettled, message_ids([message()])]
    released = [release_in_new_transaction(engine, ids) for ids in (checks if drain_first else reversed(checks))]
    assert released == [2, 0]  # once, by the first to look; the second finds nothing left
    assert stored(engine) == {"open": ATTRIBUTED}
    assert stored(engine, "azure_delivery_events") == {"delivered": ATTRIBUTED}


def test_two_releases_at_once_attribute_an_event_once(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, click("open"))
        track_messages(conn, [message()])
    ids = message_ids([message()])
    released: list[int] = []
    with engine.connect() as first:
        released.append(release(first, ids).events)  # holds the row's lock
        second = threading.Thread(target=lambda: released.append(release_in_new_transaction(engine, ids)))
        second.start()
        eventually(lambda: _assert_someone_waits_for_a_lock(engine))
        first.commit()
    second.join(10)
    assert released == [1, 0]


def test_a_release_waits_for_a_sweep_and_revives_what_it_expired(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, click("open"))
    released: list[int] = []
    with engine.connect() as sweep:
        # A sweep that has looked up the message, not found it, and is about to commit the event's end.
        sweep.execute(text("UPDATE azure_engagement_events SET state = 'expired', expired_reason = 'deadline'"))
        with engine.begin() as conn:
            track_messages(conn, [message()])
        mailer = threading.Thread(
            target=lambda: released.append(release_in_new_transaction(engine, message_ids([message()])))
        )
        mailer.start()
        eventually(lambda: _assert_someone_waits_for_a_lock(engine))
        sweep.commit()
    mailer.join(10)
    assert released == [1]
    assert stored(engine) == {"open": ATTRIBUTED}


def test_two_drains_holding_the_same_redelivered_events_write_each_once_and_never_deadlock(engine: Engine) -> None:
    events = [click(f"e{number}") for number in range(200)]
    new: list[int] = []
    start = threading.Barrier(2)

    def drain(batch: list) -> None:  # type: ignore[type-arg]
        start.wait()
        with engine.begin() as conn:
            recorded = record(conn, *batch)
        new.append(recorded.parked)

    for _ in range(10):
        with engine.begin() as conn:
            conn.execute(text("TRUNCATE azure_engagement_events"))
        new.clear()
        drains = [threading.Thread(target=drain, args=(batch,)) for batch in (events, events[::-1])]
        for each in drains:
            each.start()
        for each in drains:
            each.join(30)
        assert sum(new) == 200
        assert len(stored(engine)) == 200


def _assert_someone_waits_for_a_lock(engine: Engine) -> None:
    with engine.begin() as conn:
        waiting = conn.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        ).scalar_one()
    assert waiting
