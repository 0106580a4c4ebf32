"""The oracle finds every way in which a database can be wrong about the truth, and none in one that is right."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from rich.console import Console

from simulator import oracle
from simulator.report import last_line, verdict_report
from simulator.scenario import Traffic, play_out
from simulator.truth import Answered, Emitted, Truth
from simulator.verdict import Fault, Verdict
from tests.simulator.honest import DELIVERY, ENGAGEMENT, ledger, store

TRUTH = ledger(play_out(Traffic(messages=200, seed=3, malformed=0.05, ignored=0.05)))


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """Connect to a database that is right about `TRUTH`."""
    with oracle.connect(database_url) as connection:
        with connection.transaction():
            store(connection, TRUTH)
        yield connection


def a(state: str, *, what: str | None = None) -> Emitted:
    """Pick an event whose only fate is ``state``."""
    return next(
        expected.event
        for expected in TRUTH.expectations()
        if {fate.value for fate in expected.fates} == {state} and what in (None, expected.event.what)
    )


def alter(connection: psycopg.Connection, event: Emitted, assignment: LiteralString) -> None:
    changed = connection.execute(
        "UPDATE azure_engagement_events SET " + assignment + " WHERE event_id = %s", (event.event_id,)
    ).rowcount
    assert changed == 1


def only_fault(faults: tuple[Fault, ...], verdict: Verdict) -> Fault:
    assert len(verdict.lost) + len(verdict.twice) + len(verdict.wrong) == 1
    assert not verdict.sound
    assert "1 events" in last_line(verdict).plain
    return faults[0]


def test_database_without_fault_is_sound(connection: psycopg.Connection) -> None:
    verdict = oracle.judge(TRUTH, connection)
    assert (verdict.lost, verdict.twice, verdict.wrong) == ((), (), ())
    assert verdict.sound
    assert verdict.sent == verdict.acknowledged == len(TRUTH.events)
    assert verdict.parked > 0
    assert verdict.quarantined > 0
    assert verdict.ignored > 0
    assert verdict.sent == (
        verdict.attributed + verdict.parked + verdict.expired + verdict.quarantined + verdict.ignored
    )


def test_waiting_event_may_have_expired(connection: psycopg.Connection) -> None:
    before = oracle.judge(TRUTH, connection)
    alter(connection, a("waiting", what="view"), "state = 'expired', expired_at = now(), expired_reason = 'deadline'")
    after = oracle.judge(TRUTH, connection)
    assert after.sound
    assert (after.parked, after.expired) == (before.parked - 1, 1)


def test_row_that_is_missing_is_lost(connection: psycopg.Connection) -> None:
    event = a("attributed", what="view")
    connection.execute("DELETE FROM azure_engagement_events WHERE event_id = %s", (event.event_id,))
    verdict = oracle.judge(TRUTH, connection)
    fault = only_fault(verdict.lost, verdict)
    assert fault.subject == f"event {event.event_id}"
    assert "nowhere" in fault.sentence


def test_malformed_event_that_is_missing_is_lost(connection: psycopg.Connection) -> None:
    event = a("quarantined")
    connection.execute("DELETE FROM attribution_quarantine WHERE position(%s in body) > 0", (event.event_id.encode(),))
    verdict = oracle.judge(TRUTH, connection)
    assert only_fault(verdict.lost, verdict).subject == f"event {event.event_id}"


def test_event_that_was_never_acknowledged_may_be_missing_or_there(connection: psycopg.Connection) -> None:
    event = a("attributed", what="view")
    records = [r for r in TRUTH.records if not (isinstance(r, Answered) and r.event_ids == (event.event_id,))]
    truth = Truth.of([*records, Answered((event.event_id,), acknowledged=False)])
    there = oracle.judge(truth, connection)
    connection.execute("DELETE FROM azure_engagement_events WHERE event_id = %s", (event.event_id,))
    missing = oracle.judge(truth, connection)
    assert there.sound
    assert missing.sound
    assert missing.dropped == 1


def test_second_row_of_an_event_is_twice(connection: psycopg.Connection) -> None:
    event = a("attributed", what="click")
    connection.execute(
        "INSERT INTO azure_engagement_events"
        " (event_key, event_id, engagement_type, event_timestamp, state, campaign_id, subscriber_id)"
        " SELECT gen_random_uuid(), event_id, engagement_type, event_timestamp, state, campaign_id, subscriber_id"
        " FROM azure_engagement_events WHERE event_id = %s",
        (event.event_id,),
    )
    verdict = oracle.judge(TRUTH, connection)
    assert only_fault(verdict.twice, verdict) == Fault.of_event(
        event.event_id, "is in 2 rows and 0 times in quarantine"
    )


def test_malformed_event_quarantined_twice_is_twice(connection: psycopg.Connection) -> None:
    event = a("quarantined")
    connection.execute(
        "INSERT INTO attribution_quarantine (content_key, kind, reason, body)"
        " VALUES (gen_random_uuid(), 'event', 'test', %s)",
        (event.event_id.encode(),),
    )
    verdict = oracle.judge(TRUTH, connection)
    assert only_fault(verdict.twice, verdict).subject == f"event {event.event_id}"


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("campaign_id = campaign_id + 1", "is credited to campaign"),
        ("subscriber_id = coalesce(subscriber_id, 0) + 1", "is credited to subscriber"),
        ("state = 'parked', campaign_id = NULL, subscriber_id = NULL", "must be attributed, and is parked"),
        ("state = 'expired', campaign_id = NULL, subscriber_id = NULL", "must be attributed, and is expired"),
        ("engagement_type = 'click'", "is stored as a click (engagement)"),
        ("event_timestamp = event_timestamp + interval '1 ms'", "is stored as"),
        ("event_timestamp = now()", "is stored as"),
    ],
)
def test_row_that_differs_from_the_truth_is_wrong(
    connection: psycopg.Connection, assignment: LiteralString, sentence: str
) -> None:
    event = a("attributed", what="view")
    alter(connection, event, assignment)
    verdict = oracle.judge(TRUTH, connection)
    fault = only_fault(verdict.wrong, verdict)
    assert fault.subject == f"event {event.event_id}"
    assert sentence in fault.sentence


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("state = 'attributed', campaign_id = 1, subscriber_id = 1", "must be waiting, and is attributed"),
        ("campaign_id = 1", "waits, but names campaign"),
    ],
)
def test_event_never_tracked_that_is_credited_is_wrong(
    connection: psycopg.Connection, assignment: LiteralString, sentence: str
) -> None:
    event = a("waiting", what="view")
    alter(connection, event, assignment)
    verdict = oracle.judge(TRUTH, connection)
    assert sentence in only_fault(verdict.wrong, verdict).sentence


def test_event_of_another_kind_that_was_stored_is_wrong(connection: psycopg.Connection) -> None:
    event = a("ignored")
    connection.execute(ENGAGEMENT, (event.event_id, "view", "2026-01-10T00:00Z", "parked", None, None))
    verdict = oracle.judge(TRUTH, connection)
    assert "must be ignored" in only_fault(verdict.wrong, verdict).sentence


def test_good_event_quarantined_with_a_bad_neighbour_is_lost(connection: psycopg.Connection) -> None:
    event, neighbour = a("attributed", what="view"), a("quarantined")
    connection.execute("DELETE FROM azure_engagement_events WHERE event_id = %s", (event.event_id,))
    connection.execute(
        "UPDATE attribution_quarantine SET body = body || %s WHERE position(%s in body) > 0",
        (event.event_id.encode(), neighbour.event_id.encode()),
    )
    verdict = oracle.judge(TRUTH, connection)
    assert only_fault(verdict.lost, verdict).subject == f"event {event.event_id}"


def test_rows_that_the_ledger_does_not_know_are_none_of_its_business(connection: psycopg.Connection) -> None:
    connection.execute(DELIVERY, ("a stranger", "Delivered", "2026-01-10T00:00Z", "parked", None, None))
    assert oracle.judge(TRUTH, connection).sound


def test_verdict_is_awaited_until_the_database_is_right(connection: psycopg.Connection, database_url: str) -> None:
    event = a("attributed", what="view")
    (row,) = connection.execute(
        "DELETE FROM azure_engagement_events WHERE event_id = %s RETURNING state::text, campaign_id, subscriber_id",
        (event.event_id,),
    ).fetchall()
    verdict = oracle.await_verdict(TRUTH, connection, within=0.3)
    assert len(verdict.lost) == 1
    with psycopg.connect(database_url) as other:
        other.execute(ENGAGEMENT, (event.event_id, "view", event.at, *row))
    assert oracle.await_verdict(TRUTH, connection, within=0.3).sound


def test_seventh_digit_of_a_time_may_be_cut_off_or_rounded(connection: psycopg.Connection) -> None:
    event = a("attributed", what="view")
    alter(connection, event, "event_timestamp = event_timestamp + interval '1 microsecond'")
    assert oracle.judge(TRUTH, connection).sound


def test_counts_of_states_are_those_of_the_verdict(connection: psycopg.Connection) -> None:
    verdict = oracle.judge(TRUTH, connection)
    counts = oracle.count_states(connection)
    assert (counts["attributed"], counts["parked"], counts["quarantined"]) == (
        verdict.attributed,
        verdict.parked,
        verdict.quarantined,
    )


def test_report_lists_faults_one_by_one(connection: psycopg.Connection) -> None:
    event = a("attributed", what="view")
    connection.execute("DELETE FROM azure_engagement_events WHERE event_id = %s", (event.event_id,))
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(verdict_report(oracle.judge(TRUTH, connection)))
    printed = console.export_text()
    assert f"lost: event {event.event_id} acknowledged, must be attributed, and is nowhere" in printed
    assert "Unsound: 1 events are not where they belong." in printed
