"""What happens to a parked event: its schedule, its end, its revival, and what an operator may do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.models import MessageIds, State
from db.parking import (
    Expired,
    Parked,
    Released,
    Swept,
    count_expired,
    count_parked,
    expire_now,
    list_waiting,
    release,
    retry_now,
    sweep,
)
from db.tracking import message_ids, track_messages
from tests.db.rows import click, message, record, release_in_new_transaction, report, stored

WAITS = [timedelta(seconds=seconds) for seconds in (5, 15, 60)]
DUE = timedelta(seconds=-1)


def park(engine: Engine, *event_ids: str, first_wait: timedelta = DUE) -> None:
    with engine.begin() as conn:
        record(conn, *(click(event_id, f"<{event_id}@example.com>") for event_id in event_ids), first_wait=first_wait)


def swept(
    engine: Engine,
    *,
    waits: Sequence[timedelta] = WAITS,
    deadline: timedelta = timedelta(days=7),
    limit: int = 100,
    jitter: float = 0,
) -> Swept:
    with engine.begin() as conn:
        return sweep(conn, waits=waits, jitter=jitter, deadline=deadline, limit=limit)


def seconds_to_next_attempt(engine: Engine) -> float:
    with engine.begin() as conn:
        return float(
            conn.execute(
                text("SELECT extract(epoch FROM next_attempt_at - now()) FROM azure_engagement_events")
            ).scalar_one()
        )


def make_due(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE azure_engagement_events SET next_attempt_at = now() WHERE state = 'parked'"))


def expiry(engine: Engine) -> tuple[datetime, str]:
    """Return when and why the one event expired last."""
    with engine.begin() as conn:
        row = conn.execute(text("SELECT expired_at, expired_reason FROM azure_engagement_events")).one()
        return row.expired_at, row.expired_reason


def test_an_event_is_tried_again_on_the_schedule_whose_last_wait_repeats(engine: Engine) -> None:
    park(engine, "e1", first_wait=WAITS[0])
    waits = [seconds_to_next_attempt(engine)]
    for _ in range(4):
        make_due(engine)
        assert swept(engine) == Swept(parked=1)
        waits.append(seconds_to_next_attempt(engine))
    assert waits == pytest.approx([5, 15, 60, 60, 60], rel=0.15, abs=0.6)


def test_waits_stray_so_that_retries_spread_out(engine: Engine) -> None:
    park(engine, *(f"e{number}" for number in range(50)))
    assert swept(engine, waits=[timedelta(hours=1)], jitter=0.5) == Swept(parked=50)
    with engine.begin() as conn:
        low, high = conn.execute(
            text(
                "SELECT extract(epoch FROM min(next_attempt_at) - now()),"
                " extract(epoch FROM max(next_attempt_at) - now()) FROM azure_engagement_events"
            )
        ).one()
    assert 1790 < low < 3000
    assert 4200 < high <= 5400


def test_an_event_that_is_not_due_is_left_alone(engine: Engine) -> None:
    park(engine, "e1", first_wait=timedelta(minutes=5))
    assert swept(engine) == Swept()


def test_the_sweep_finds_what_was_tracked_behind_its_back(engine: Engine) -> None:
    park(engine, "e1", "e2")
    with engine.begin() as conn:
        track_messages(conn, [message("<e1@example.com>")])
    assert swept(engine) == Swept(attributed=1, parked=1)
    assert stored(engine)["e1"] == ("attributed", 7, 12, "internet_message_id")


def test_past_the_deadline_an_event_expires_with_the_reason_and_its_message_revives_it(engine: Engine) -> None:
    park(engine, "e1")
    assert swept(engine, deadline=timedelta(0)) == Swept(expired=1)
    with engine.begin() as conn:
        assert (count_parked(conn), count_expired(conn)) == (Parked(0, oldest_at=None), Expired(1))
        (row,) = list_waiting(conn, "azure_engagement_events", state=State.EXPIRED, limit=5)
        assert (row.expired_reason, row.next_attempt_at) == ("deadline", None)
        track_messages(conn, [message("<e1@example.com>")])
    assert swept(engine) == Swept()
    assert release_in_new_transaction(engine, message_ids([message("<e1@example.com>")])) == 1
    assert stored(engine)["e1"][0] == "attributed"


def test_sweeps_at_once_share_the_work_and_take_each_event_once(engine: Engine) -> None:
    park(engine, *(f"e{number}" for number in range(10)))
    with engine.connect() as one, engine.connect() as other:
        first = sweep(one, waits=WAITS, jitter=0, deadline=timedelta(days=7), limit=4)
        second = sweep(other, waits=WAITS, jitter=0, deadline=timedelta(days=7), limit=100)
        one.commit()
        other.commit()
    assert (first, second) == (Swept(parked=4), Swept(parked=6))
    with engine.begin() as conn:
        assert conn.execute(text("SELECT DISTINCT attempts FROM azure_engagement_events")).scalars().all() == [1]


def test_nothing_leaves_attributed(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message("<e1@example.com>")])
        record(conn, click("e1", "<e1@example.com>"))
    before = stored(engine)
    with engine.begin() as conn:
        assert retry_now(conn, event_ids=None, internet_message_id=None) == 0
        assert expire_now(conn, event_ids=None, internet_message_id=None) == 0
        assert release(conn, MessageIds(frozenset({"<e1@example.com>"}))) == Released()
    assert swept(engine, deadline=timedelta(0)) == Swept()
    assert stored(engine) == before


def test_an_operator_acts_on_one_on_those_of_a_message_or_on_all(engine: Engine) -> None:
    park(engine, "e1", "e2", "e3", first_wait=timedelta(days=1))
    with engine.begin() as conn:
        record(conn, report("d2", "<e2@example.com>"))
    with engine.begin() as conn:
        assert expire_now(conn, event_ids=["e1", "no such event"], internet_message_id=None) == 1
        assert expire_now(conn, event_ids=None, internet_message_id="<e2@example.com>") == 2
        assert count_expired(conn).events == 3
        (reason,) = conn.execute(
            text("SELECT DISTINCT expired_reason FROM azure_engagement_events WHERE state = 'expired'")
        ).scalars()
        assert reason == "operator"
        assert retry_now(conn, event_ids=["e3"], internet_message_id=None) == 1
    assert swept(engine) == Swept(parked=1)
    with engine.begin() as conn:
        assert retry_now(conn, event_ids=None, internet_message_id=None) == 4
    assert swept(engine) == Swept(parked=4)


def test_an_expired_event_that_is_retried_gets_one_attempt(engine: Engine) -> None:
    park(engine, "e1")
    swept(engine, deadline=timedelta(0))
    with engine.begin() as conn:
        assert retry_now(conn, event_ids=["e1"], internet_message_id=None) == 1
    assert swept(engine, deadline=timedelta(0)) == Swept(expired=1)


@pytest.mark.parametrize("found_by", ["release", "sweep"])
def test_an_expired_event_that_is_retried_and_attributed_is_known_to_have_been_revived(
    engine: Engine, found_by: str
) -> None:
    park(engine, "e1")
    swept(engine, deadline=timedelta(0))
    expired = expiry(engine)
    assert expired[1] == "deadline"
    with engine.begin() as conn:
        retry_now(conn, event_ids=["e1"], internet_message_id=None)
        track_messages(conn, [message("<e1@example.com>")])
    if found_by == "sweep":
        assert swept(engine, deadline=timedelta(0)) == Swept(attributed=1)
    else:
        assert release_in_new_transaction(engine, message_ids([message("<e1@example.com>")])) == 1
    assert stored(engine)["e1"][0] == "attributed"
    assert expiry(engine) == expired


def test_an_event_that_expires_again_says_when_and_why_it_did_so_last(engine: Engine) -> None:
    park(engine, "e1")
    with engine.begin() as conn:
        expire_now(conn, event_ids=None, internet_message_id=None)
    first_at, reason = expiry(engine)
    assert reason == "operator"
    with engine.begin() as conn:
        retry_now(conn, event_ids=None, internet_message_id=None)
    assert swept(engine) == Swept(parked=1)  # within its deadline it goes on waiting, and has expired once
    assert expiry(engine) == (first_at, "operator")
    make_due(engine)
    assert swept(engine, deadline=timedelta(0)) == Swept(expired=1)
    last_at, reason = expiry(engine)
    assert (reason, last_at > first_at) == ("deadline", True)


def test_what_waits_is_listed_with_its_bookkeeping(engine: Engine) -> None:
    park(engine, "e1", "e2", first_wait=timedelta(minutes=5))
    with engine.begin() as conn:
        first, second = list_waiting(conn, "azure_engagement_events", state=State.PARKED, limit=10)
        assert {first.event_id, second.event_id} == {"e1", "e2"}
        assert (first.internet_message_id, first.attempts) == (f"<{first.event_id}@example.com>", 0)
        assert first.next_attempt_at > first.created_at
        (rest,) = list_waiting(conn, "azure_engagement_events", state=State.PARKED, limit=10, after=first.id)
        assert rest.event_id == second.event_id
        assert (count_parked(conn), count_expired(conn)) == (Parked(2, first.created_at), Expired(0))


def test_of_many_that_have_expired_it_is_said_that_there_are_more(engine: Engine) -> None:
    park(engine, "e1", "e2", "e3")
    with engine.begin() as conn:
        expire_now(conn, event_ids=None, internet_message_id=None)
        assert count_expired(conn, most=3) == Expired(3)
        assert str(count_expired(conn, most=3)) == "3"
        assert count_expired(conn, most=2) == Expired(2, exact=False)
        assert str(count_expired(conn, most=2)) == "more than 2"


def test_an_event_whose_message_is_tracked_is_not_given_up_for_nobody_would_revive_it(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, click("known"), click("unknown", "<u@example.com>"))
        track_messages(conn, [message()])  # by a process that was killed before its release, say
        assert expire_now(conn, event_ids=None, internet_message_id=None) == 1
    states = {event_id: row[0] for event_id, row in stored(engine).items()}
    assert states == {"known": "parked", "unknown": "expired"}
