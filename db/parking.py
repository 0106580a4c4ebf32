"""Events that wait for their message: released when it is tracked, retried on a schedule, expired at a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from db.models import MessageIds, State
from db.sql import load_queries

#: The two event tables. Always in this order, so that transactions lock their rows in one order.
EVENT_TABLES = ("azure_delivery_events", "azure_engagement_events")

_QUERIES = {table: load_queries("parking.sql", events=table) for table in EVENT_TABLES}
_SESSION = load_queries("session.sql")


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of the parked events that were due."""

    attributed: int = 0
    expired: int = 0
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many events wait, and since when the oldest does."""

    parked: int
    expired: int
    oldest_parked_at: datetime | None


def release(conn: Connection, ids: MessageIds) -> int:
    """Attribute the events, parked or expired, of those messages in ``ids`` that are tracked. Return how many.

    The cure of the race between parking and tracking is to commit first and call this in a NEW transaction, on both
    sides: whoever commits last sees the row of the other. Two releases of one message at once attribute its events
    once.
    """
    if not ids:
        return 0
    conn.execute(_SESSION["prefer_index_lookups"])
    released = 0
    for table in EVENT_TABLES:
        queries = _QUERIES[table]
        if ids.internet:
            released += conn.execute(
                queries["release_by_internet_message_id"], {"internet_message_ids": sorted(ids.internet)}
            ).rowcount
        if ids.azure:
            released += conn.execute(
                queries["release_by_azure_message_id"], {"azure_message_ids": sorted(ids.azure)}
            ).rowcount
    return released


def sweep(conn: Connection, *, waits: Sequence[timedelta], jitter: float, deadline: timedelta, limit: int) -> Swept:
    """Try up to ``limit`` due events of each table again.

    ``waits`` are the times before the first, second, … attempt; the last repeats. Each strays by the fraction
    ``jitter`` either way. Sweeps may overlap: each due event is taken by one of them.
    """
    parameters = {
        "waits": [wait.total_seconds() for wait in waits],
        "jitter": jitter,
        "deadline": deadline,
        "limit": limit,
    }
    conn.execute(_SESSION["prefer_index_lookups"])
    counts = dict.fromkeys(State, 0)
    for table in EVENT_TABLES:
        for state, events in conn.execute(_QUERIES[table]["sweep"], parameters):
            counts[State(state)] += events
    return Swept(counts[State.ATTRIBUTED], counts[State.EXPIRED], counts[State.PARKED])


def count_waiting(conn: Connection) -> Waiting:
    """Count the events that wait, in both tables."""
    rows = [conn.execute(_QUERIES[table]["count_waiting"]).one() for table in EVENT_TABLES]
    oldest = [row.oldest_parked_at for row in rows if row.oldest_parked_at]
    return Waiting(sum(row.parked for row in rows), sum(row.expired for row in rows), min(oldest, default=None))


def list_waiting(conn: Connection, table: str, *, state: State, limit: int, after: int = 0) -> Sequence[Row[Any]]:
    """Return up to ``limit`` events of ``table`` in ``state``, oldest row first, behind the row ``after``."""
    parameters = {"state": state.value, "limit": limit, "after": after}
    return conn.execute(_QUERIES[table]["list_waiting"], parameters).all()


def retry_now(conn: Connection, *, event_ids: Sequence[str] | None, internet_message_id: str | None) -> int:
    """Make waiting events due at once, those chosen or, with None for both, all; return how many.

    An expired event gets one attempt: its deadline is past.
    """
    return _act(conn, "retry_now", event_ids, internet_message_id)


def expire_now(conn: Connection, *, event_ids: Sequence[str] | None, internet_message_id: str | None) -> int:
    """Expire parked events by an operator's word; return how many. Their messages can still revive them."""
    return _act(conn, "expire_now", event_ids, internet_message_id)


def _act(conn: Connection, query: str, event_ids: Sequence[str] | None, internet_message_id: str | None) -> int:
    parameters = {
        "event_ids": None if event_ids is None else list(event_ids),
        "internet_message_id": internet_message_id,
    }
    return sum(conn.execute(_QUERIES[table][query], parameters).rowcount for table in EVENT_TABLES)
