"""Adoption: rows that the replaced system stored are told which events they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from db.adoption import adopt_replaced, count_stored_twice
from db.engine import create_engine
from db.models import DeliveryEvent, EngagementEvent
from db.tracking import track_messages
from tests.db.rows import azure_id, click, message, record, report

AT = datetime(2025, 11, 3, 8, 15, 42, 123456, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def clicked(event_id: str, number: int = 1, at: datetime = AT, **fields: Any) -> EngagementEvent:
    return click(event_id, f"<{number}@example.com>", azure_id(number), event_timestamp=at, **fields)


def reported(event_id: str, number: int = 1, at: datetime = AT, **fields: Any) -> DeliveryEvent:
    return report(event_id, f"<{number}@example.com>", azure_id(number), event_timestamp=at, **fields)


def old_click(conn: Connection, number: int = 1, at: datetime = AT, campaign: int | None = 64, **row: Any) -> int:
    """Insert a row of the replaced system's as the migration leaves it."""
    return _insert(conn, "azure_engagement_events", number, at, campaign, {"engagement_type": "click"} | row)


def old_report(conn: Connection, number: int = 1, at: datetime = AT, campaign: int | None = 64, **row: Any) -> int:
    return _insert(conn, "azure_delivery_events", number, at, campaign, {"status": "Delivered"} | row)


def _insert(conn: Connection, table: str, number: int, at: datetime, campaign: int | None, row: dict[str, Any]) -> int:
    values = {"azure_message_id": azure_id(number), "event_timestamp": at, "campaign_id": campaign} | row
    if campaign is None:
        values |= {"state": "parked", "next_attempt_at": at}
    else:
        values |= {"state": "attributed", "matched_by": "replaced_system"}
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"
    return int(conn.execute(text(f"{statement} RETURNING id"), values).scalar_one())


def rows(
    conn: Connection, table: str = "azure_engagement_events"
) -> dict[int, tuple[str | None, str | None, int | None, str]]:
    """Return event id, Message-ID, campaign and state of each row."""
    found = conn.execute(text(f"SELECT id, event_id, internet_message_id, campaign_id, state FROM {table}"))
    return {row.id: (row.event_id, row.internet_message_id, row.campaign_id, row.state) for row in found}


def test_a_row_gets_what_makes_it_its_event_and_keeps_what_it_was_credited_to(engine: Engine) -> None:
    with engine.begin() as conn:
        view, delivered = old_click(conn, engagement_type="View"), old_report(conn)
        events = (
            [reported("d1", status="delivered")],
            [clicked("e1", engagement_type="view", received_at=AT + MICROSECOND)],
        )
        assert adopt_replaced(conn, *events) == 2
        assert rows(conn) == {view: ("e1", "<1@example.com>", 64, "attributed")}
        assert rows(conn, "azure_delivery_events") == {delivered: ("d1", "<1@example.com>", 64, "attributed")}
        stored = conn.execute(text("SELECT event_key, received_at, matched_by FROM azure_engagement_events")).one()
        assert (stored.event_key.bytes, stored.received_at, stored.matched_by) == (
            events[1][0].event_key,
            AT + MICROSECOND,
            "replaced_system",
        )
        assert adopt_replaced(conn, *events) == 0
        assert record(conn, *events[0], *events[1]).duplicates == 2
        assert len(rows(conn)) == 1


def test_its_own_message_id_stays(engine: Engine) -> None:
    with engine.begin() as conn:
        row = old_click(conn, internet_message_id="<other@example.com>")
        assert adopt_replaced(conn, [], [clicked("e1")]) == 1
        assert rows(conn)[row] == ("e1", "<other@example.com>", 64, "attributed")


@pytest.mark.parametrize(
    ("written", "adopted"),
    [
        (AT, 1),
        (AT.replace(microsecond=123000), 1),  # cut off
        (AT + 500 * MICROSECOND, 0),
        (AT.replace(microsecond=124000), 0),  # rounded, had it been .1235
        (AT + MICROSECOND, 1),  # a seventh digit, rounded
        (AT - MICROSECOND, 0),
        (AT.replace(microsecond=0), 0),
    ],
)
def test_an_instant_matches_to_the_microsecond_or_as_cut_to_the_millisecond(
    engine: Engine, written: datetime, adopted: int
) -> None:
    with engine.begin() as conn:
        old_click(conn, at=written)
        assert adopt_replaced(conn, [], [clicked("e1")]) == adopted


def test_an_instant_matches_as_rounded_to_the_millisecond(engine: Engine) -> None:
    with engine.begin() as conn:
        old_click(conn, at=AT.replace(microsecond=124000))
        assert adopt_replaced(conn, [], [clicked("e1", at=AT.replace(microsecond=123500))]) == 1


def test_the_exact_row_wins_over_one_cut_to_the_millisecond(engine: Engine) -> None:
    with engine.begin() as conn:
        cut, exact = old_click(conn, at=AT.replace(microsecond=123000)), old_click(conn)
        assert adopt_replaced(conn, [], [clicked("e1")]) == 1
        assert {row: event for row, (event, *_) in rows(conn).items()} == {cut: None, exact: "e1"}


@pytest.mark.parametrize(
    "other",
    [
        {"number": 2},
        {"engagement_type": "view"},
        {"at": AT + timedelta(seconds=1)},
    ],
)
def test_another_message_kind_or_instant_is_another_event(engine: Engine, other: dict[str, Any]) -> None:
    with engine.begin() as conn:
        old_click(conn, **other)
        assert adopt_replaced(conn, [], [clicked("e1")]) == 0


def test_rows_and_events_that_are_alike_are_paired_one_to_one(engine: Engine) -> None:
    """A mail to three people has three reports of one instant; of one of them the replaced system kept nothing."""
    with engine.begin() as conn:
        first, second = old_report(conn), old_report(conn)
        reports = [reported(f"d{number}") for number in range(3)]
        assert adopt_replaced(conn, [*reports, reports[0]], []) == 2  # and one came twice
        adopted = {event for event, *_ in rows(conn, "azure_delivery_events").values()}
        assert len(adopted) == 2
        assert record(conn, *reports).duplicates == 2
        stored = rows(conn, "azure_delivery_events")
        assert len(stored) == 3
        assert {first, second} < set(stored)
        assert count_stored_twice(conn) == 0


def test_what_the_replaced_system_stored_twice_is_adopted_once_counted_and_left(engine: Engine) -> None:
    with engine.begin() as conn:
        old_click(conn)
        duplicates = [old_click(conn), old_click(conn)]
        old_click(conn, number=2)  # of no event that is known
        assert adopt_replaced(conn, [], [clicked("e1")]) == 1
        assert adopt_replaced(conn, [], [clicked("e1")]) == 0
        assert count_stored_twice(conn) == 2
        assert {row: event for row, (event, *_) in rows(conn).items() if row in duplicates} == dict.fromkeys(duplicates)


def test_an_event_that_is_recorded_claims_no_row(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, clicked("e1"))
        old = old_click(conn)
        assert adopt_replaced(conn, [], [clicked("e1"), clicked("e2")]) == 1
        assert rows(conn)[old][0] == "e2"


def test_a_row_that_waits_is_adopted_and_its_message_is_found_by_the_id_it_got(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message("<1@example.com>", campaign=7)])
        old = old_click(conn, campaign=None)
        assert rows(conn)[old] == (None, None, None, "parked")
        assert adopt_replaced(conn, [], [clicked("e1")]) == 1
        unsettled = record(conn, clicked("e1")).unsettled
    assert "<1@example.com>" in unsettled.internet  # which whoever recorded it settles


def test_two_imports_at_once_adopt_each_row_once(engine: Engine) -> None:
    with engine.begin() as conn:
        old = [old_click(conn), old_click(conn)]
    with engine.begin() as one:
        assert adopt_replaced(one, [], [clicked("e1")]) == 1
        with engine.begin() as other:
            # It finds both rows, waits at the first in vain, and is tried again by whoever called.
            other.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                adopt_replaced(other, [], [clicked("e2")])
    with engine.begin() as other:
        assert adopt_replaced(other, [], [clicked("e2")]) == 1
        assert {event for event, *_ in rows(other).values()} == {"e1", "e2"}
        assert len(rows(other)) == len(old)
