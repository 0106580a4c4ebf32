"""`attribution why` of an event that waits, waited, expired or is in quarantine."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.parking import expire_now, sweep
from db.quarantine import quarantine
from tasks.eventgrid import malformed
from tasks.reasons import Reason
from tests.cli.why.asking import LATE, execute, said, settle, timeline, why
from tests.db.listmonk.counts import record
from tests.db.rows import NOW, azure_id, click, message


def test_a_parked_event_says_what_it_waits_for_and_until_when(engine: Engine) -> None:
    record(engine, click("m", LATE), click("a", None, azure_id(3)))
    told = timeline("m")
    assert list(told) == ["happened", "received", "parked", "next_attempt", "not_counted"]
    assert told["parked"] == f"recorded and parked: no message with the Message-ID {LATE} was tracked"
    assert told["not_counted"] == "not counted: it is parked, and no campaign is known"
    assert f"only Azure's id {azure_id(3)}" in timeline("a")["parked"]


def test_an_event_that_was_released_says_that_it_waited(engine: Engine) -> None:
    record(engine, click("e", LATE))
    execute(engine, "UPDATE azure_engagement_events SET attempts = 3")
    settle(engine, message(LATE))
    told = timeline("e")
    assert list(told)[2:5] == ["parked", "tracked", "attributed"]
    assert told["attempts"] == "looked for its message 3 times since"
    assert told["counted"].startswith("counted in link_clicks")


@pytest.mark.parametrize("operator", [True, False])
def test_an_expired_event_says_why_and_a_revived_one_too(engine: Engine, operator: bool) -> None:
    record(engine, click("e", LATE))
    with engine.begin() as conn:
        if operator:
            expire_now(conn, event_ids=["e"], internet_message_id=None)
        else:
            conn.execute(text("UPDATE azure_engagement_events SET next_attempt_at = now()"))
            sweep(conn, waits=[timedelta(seconds=5)], jitter=0, deadline=timedelta(0), limit=10)
    why_expired = "an operator gave it up" if operator else "its message was not tracked by the deadline"
    assert timeline("e")["expired"] == f"expired: {why_expired}"
    assert timeline("e")["not_counted"] == "not counted: it is expired, and no campaign is known"
    settle(engine, message(LATE))
    told = timeline("e")
    assert told["expired"] == f"expired: {why_expired}"
    assert told["attributed"].startswith("revived and attributed to campaign 7, subscriber 12")


def test_a_quarantined_event_is_found_by_its_id_with_the_reason(engine: Engine) -> None:
    part = malformed(
        "event", Reason.TIMESTAMP_MISSING, None, b'{"id": "broken-1", "to": "ada@example.net"}', "1-0", NOW
    )
    with engine.begin() as conn:
        quarantine(conn, [part])
    shown = said("broken-1")
    assert "In quarantine, number 1: an event that may name it could not be taken" in shown
    assert "Reason: timestamp_missing" in shown
    assert "`attribution quarantine show 1`" in shown
    assert "ada@" not in shown


@pytest.mark.parametrize(
    ("body", "asked", "found"),
    [
        (b'{"id":"evt-77"}', "evt-7", False),
        (b'{"id":"evt-77"}', "evt-77", True),
        (rb'{"id":"a\"b\u00fc\\_%"}', 'a"bü\\_%', True),
        ('{"id":"bü"}'.encode(), "bü", True),
        (b'\xff\x00"evt-7"', "evt-7", True),
        (b'{"m":"<M.1@example.com>"}', "<m.1@Example.com>", True),
        (b'{"m":"M.1@EXAMPLE.com"}', "<M.1@example.com>", True),
        (rb'{"m":"\u003CM.1@Example.com\u003E"}', "M.1@example.com", True),
        (b'{"m":"<other+M.1@example.com>"}', "<M.1@example.com>", False),
        (b'{"m":"<M.1@example.com.org>"}', "<M.1@example.com>", False),
        (b'{"m":"5B1E3C44-0000-4000-8000-000000000001"}', "5b1e3c44-0000-4000-8000-000000000001", True),
    ],
)
def test_a_quarantined_body_is_found_by_a_whole_id_however_json_has_it(
    engine: Engine, body: bytes, asked: str, found: bool
) -> None:
    with engine.begin() as conn:
        quarantine(conn, [malformed("event", Reason.TIMESTAMP_MISSING, None, body, "1-0", NOW)])
    result = why(asked)
    assert ("an event that may name it" in result.output) is found
    assert result.exit_code == (0 if found else 1)
