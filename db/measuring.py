"""What the operator's gauges are made of: a few numbers of the whole database, each cheap however large that is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from db.parking import EVENT_TABLES
from db.sql import load_queries

_QUERIES = load_queries("measuring.sql")
_BY_TABLE = {table: load_queries("measuring.sql", events=table) for table in EVENT_TABLES}


def now(conn: Connection) -> float:
    """Return what time PostgreSQL has, in Unix time."""
    return float(conn.execute(_QUERIES["read_clock"]).scalar_one())


def count_overdue(conn: Connection, late: timedelta) -> int:
    """Return how many parked events should have been tried again longer than ``late`` ago."""
    return sum(int(conn.execute(_BY_TABLE[table]["count_overdue"], {"late": late}).scalar_one()) for table in _BY_TABLE)


def count_tracked(conn: Connection, since: timedelta) -> Row[Any]:
    """Return how many ``messages`` were sent since then, and of how many of them the internetMessageId is known."""
    return conn.execute(_QUERIES["count_tracked"], {"since": since}).one()


def add_up_tallies(conn: Connection, since: timedelta) -> Row[Any]:
    """Return what drains have counted since then: events, malformed, unknown, engagements, without_id."""
    return conn.execute(_QUERIES["add_up_tallies"], {"since": since}).one()


def count_incidents(conn: Connection) -> dict[str, int]:
    """Return how many incidents of each kind there are; every kind is among them."""
    return {row.kind: row.incidents for row in conn.execute(_QUERIES["count_incidents"])}


def count_acts(conn: Connection, since: timedelta, *, campaigns: int) -> Sequence[Row[Any]]:
    """Return campaign_id, views and clicks since then of the ``campaigns`` that had most, and of all others.

    The others are one row, whose campaign_id is NULL; of none there is none.
    """
    return conn.execute(_QUERIES["count_acts"], {"since": since, "campaigns": campaigns}).all()


def archive_bytes(conn: Connection) -> int:
    """Return the size of the archive, its index included."""
    return int(conn.execute(_QUERIES["archive_bytes"]).scalar_one())
