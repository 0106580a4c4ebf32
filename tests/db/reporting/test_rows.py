"""The rows behind the numbers: found by an index, and passed on without being held."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from db.reporting import campaign_stats, read_only, stream_events
from tests.db.reporting.facts import HOUR, START, act, delivery, sent, stats
from tests.db.rows import azure_id


def ids(rows: Iterator[Any]) -> list[str]:
    return [row.event_id for row in rows]


@pytest.fixture
def some_events(conn: Connection) -> Connection:
    sent(conn, 65, "<a@example.com>", azure_message_id=azure_id(1))
    act(
        conn,
        "click",
        65,
        event_id="click",
        subscriber_id=12,
        internet_message_id="<a@example.com>",
        engagement_context="https://www.example.com/offer",
        event_timestamp=START + 3 * HOUR,
        user_agent="Mozilla/5.0",
    )
    act(conn, "View", 65, event_id="open", subscriber_id=13, event_timestamp=START + HOUR, engagement_context="x")
    delivery(conn, "Bounced", 65, event_id="bounce", subscriber_id=12, azure_message_id=azure_id(1), bounce_type="hard")
    act(
        conn,
        "view",
        None,
        event_id="waits",
        state="parked",
        matched_by=None,
        attributed_at=None,
        internet_message_id="<a@example.com>",
        event_timestamp=START + 2 * HOUR,
    )
    act(conn, "view", 66, event_id="other", subscriber_id=12, event_timestamp=START + 4 * HOUR)
    return conn


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"campaign": 65}, ["bounce", "open", "click"]),
        ({"subscriber": 12}, ["bounce", "click", "other"]),
        ({"campaign": 65, "subscriber": 12}, ["bounce", "click"]),
        ({"message": "<a@example.com>"}, ["bounce", "waits", "click"]),
        ({"message": azure_id(1)}, ["bounce", "waits", "click"]),
        ({"message": "<b@example.com>"}, []),
        ({"message": azure_id(2)}, []),
        ({"campaign": 65, "since": START + HOUR}, ["open", "click"]),
        ({"campaign": 65, "since": START + 9 * HOUR}, []),
    ],
)
def test_events_are_found_by_campaign_person_and_either_id_of_their_message(
    some_events: Connection, given: dict[str, Any], found: list[str]
) -> None:
    assert ids(stream_events(some_events, **given)) == found


@pytest.mark.parametrize(
    ("look_up", "given", "found"),
    [
        (campaign_stats, {"campaigns": [64, 65], "since": START}, 2),
        (stream_events, {"campaign": 65}, 99),
        (stream_events, {"subscriber": 65}, 99),
        (stream_events, {"message": "<m65@example.com>"}, 99),
        (stream_events, {"message": azure_id(65)}, 0),
        (stream_events, {"subscriber": 65, "since": START}, 99),
    ],
)
def test_one_of_very_many_is_looked_up_in_the_index_though_its_ids_are_anywhere(
    conn: Connection, look_up: Callable[..., Iterable[Any]], given: dict[str, Any], found: int
) -> None:
    conn.execute(
        text(
            "INSERT INTO azure_engagement_events"
            " (campaign_id, subscriber_id, internet_message_id, engagement_type, event_timestamp, state)"
            " SELECT n * 31 % 101, n * 31 % 101, '<m' || n * 31 % 101 || '@example.com>', 'view', now(), 'attributed'"
            " FROM generate_series(1, 10000) AS n"
        )
    )
    conn.execute(text("ANALYZE azure_engagement_events"))
    assert _scans(conn) == (0, 0)
    assert len(list(look_up(conn, **given))) == found
    assert conn.scalar(text("SHOW enable_seqscan")) == "on"
    whole, by_index = _scans(conn)
    assert whole == 0
    assert by_index > 0


def _scans(conn: Connection) -> tuple[int, int]:
    """Return how often this transaction has read engagement reports whole, and looked into their index for people."""
    whole, by_index = conn.execute(
        text(
            "SELECT pg_stat_get_xact_numscans(CAST('azure_engagement_events' AS regclass)),"
            " pg_stat_get_xact_numscans(CAST('azure_engagement_events_lookup' AS regclass))"
        )
    ).one()
    return whole, by_index


def test_a_row_tells_what_happened_in_one_form_for_both_kinds(some_events: Connection) -> None:
    bounce, opened, clicked = stream_events(some_events, campaign=65)
    assert (bounce.kind, bounce.status, bounce.bounce_type, bounce.url) == ("delivery", "Bounced", "hard", None)
    assert (opened.kind, opened.status, opened.url) == ("open", None, None)
    assert (clicked.kind, clicked.url) == ("click", "https://www.example.com/offer")
    assert (clicked.state, clicked.matched_by, clicked.user_agent) == (
        "attributed",
        "internet_message_id",
        "Mozilla/5.0",
    )


def test_any_number_of_events_passes_through_little_memory(conn: Connection) -> None:
    rows, url_bytes = 60_000, 400
    conn.execute(
        text(
            "INSERT INTO azure_engagement_events"
            " (campaign_id, engagement_type, engagement_context, event_timestamp, state)"
            " SELECT 1, 'click', rpad('https://www.example.com/' || n, :length, 'x'), now(), 'attributed'"
            " FROM generate_series(1, :rows) AS n"
        ),
        {"rows": rows, "length": url_bytes},
    )
    tracemalloc.start()
    try:
        seen = sum(len(row.url) for row in stream_events(conn, campaign=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == rows * url_bytes
    assert peak < seen / 4


def test_what_is_read_changes_nothing_is_of_one_moment_and_may_pause(engine: Engine) -> None:
    with engine.begin() as reading, engine.begin() as writing:
        read_only(reading)
        assert stats(reading) == {}
        sent(writing, 1, "<m@example.com>")
        writing.commit()
        assert stats(reading) == {}
        assert reading.scalar(text("SELECT current_setting('idle_in_transaction_session_timeout')")) == "0"
        assert reading.scalar(text("SELECT current_setting('transaction_read_only')")) == "on"
