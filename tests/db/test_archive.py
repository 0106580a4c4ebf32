"""The raw archive: what is kept, found again, and purged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.archive import (
    BEGINNING,
    Packed,
    Place,
    Window,
    count_archived,
    find_span,
    keep,
    list_archived,
    purge,
    read_contents,
)
from db.engine import create_engine

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOUR = Window(NOON, NOON + timedelta(hours=1))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def packed(first: float, last: float | None = None, content: bytes = b"content") -> Packed:
    """Return a row of two bodies that came so many minutes after noon."""
    instants = (NOON + timedelta(minutes=first), NOON + timedelta(minutes=first if last is None else last))
    return Packed(*instants, bodies=2, raw_bytes=100, content=content)


def minutes(engine: Engine, *, kind: str = "event", limit: int = 100) -> list[float]:
    """Return when the last bodies of the hour's rows came, read in pages of ``limit``."""
    found: list[float] = []
    after = BEGINNING
    with engine.begin() as conn:
        while rows := list_archived(conn, kind, HOUR, after=after, limit=limit):
            found += [(row.last_received_at - NOON) / timedelta(minutes=1) for row in rows]
            after = Place(rows[-1].last_received_at, rows[-1].id)
    return found


def test_rows_are_listed_that_hold_bodies_of_the_window_in_the_order_they_came(engine: Engine) -> None:
    with engine.begin() as conn:
        for first, last in ((70, 80), (50, 70), (-30, 0), (10, 10), (-30, -1), (60, 60), (-5, 65)):
            keep(conn, "event", packed(first, last))
        keep(conn, "message", packed(20))
    assert minutes(engine) == [0, 10, 65, 70]
    assert minutes(engine, kind="message") == [20]


def test_rows_of_one_instant_are_each_listed_once_whatever_the_page(engine: Engine) -> None:
    with engine.begin() as conn:
        for _ in range(7):
            keep(conn, "event", packed(30))
    for limit in (1, 2, 3, 7, 8):
        assert minutes(engine, limit=limit) == [30] * 7


def test_contents_come_back_in_the_order_they_came_without_those_purged_meanwhile(engine: Engine) -> None:
    with engine.begin() as conn:
        for minute, content in ((30, b"\0late"), (10, b"early"), (20, b"gone")):
            keep(conn, "event", packed(minute, content=content))
        ids = [row.id for row in list_archived(conn, "event", HOUR, after=BEGINNING, limit=10)]
        conn.execute(text("DELETE FROM attribution_archive WHERE content = 'gone'"))
        assert [content for _, content in read_contents(conn, ids)] == [b"early", b"\0late"]


def test_the_archive_says_how_much_it_holds_and_since_when(engine: Engine) -> None:
    with engine.begin() as conn:
        assert find_span(conn) is None
        assert tuple(count_archived(conn, HOUR)) == (0, 0)
        keep(conn, "event", packed(-90))
        keep(conn, "event", packed(1))
        keep(conn, "message", packed(2))
        assert tuple(count_archived(conn, HOUR)) == (4, 200)
        assert find_span(conn) == Window(NOON - timedelta(minutes=90), NOON + timedelta(minutes=2))


def test_the_oldest_are_purged_first_and_no_row_with_a_body_that_is_young_enough(engine: Engine) -> None:
    with engine.begin() as conn:
        for first, last in ((-60, -50), (-60, 0), (-60, -1), (-90, -80)):
            keep(conn, "event", packed(first, last))
        assert purge(conn, NOON, limit=1) == 1
        assert purge(conn, NOON - timedelta(minutes=20), limit=100) == 1
        assert purge(conn, NOON, limit=100) == 1
        assert conn.execute(text("SELECT last_received_at FROM attribution_archive")).scalars().all() == [NOON]


def test_two_purges_at_once_share_the_rows_and_neither_waits(engine: Engine) -> None:
    with engine.begin() as conn:
        for _ in range(4):
            keep(conn, "event", packed(-60))
    with engine.begin() as one, engine.begin() as other:
        assert purge(one, NOON, limit=3) == 3
        assert purge(other, NOON, limit=3) == 1
