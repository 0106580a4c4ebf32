"""Events that wait for their message: released when it is tracked, retried on a schedule, expired at a deadline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause

from db.models import NOTHING, MessageIds, State
from db.results import Results
from db.sql import load_queries
from db.teaching import teach

#: The table of the events that carry both ids of their message.
DELIVERIES = "azure_delivery_events"
#: The two event tables. Always in this order, so that transactions lock their rows in one order.
EVENT_TABLES = (DELIVERIES, "azure_engagement_events")

#: Most expired events of each kind that are counted: some tenths of a second's work, however many there are.
MOST_EXPIRED = 1_000_000

#: Whether what a message is tracked for (``t``) is still in listmonk's database.
_CAMPAIGN_EXISTS = "EXISTS (SELECT FROM campaigns AS c WHERE c.id = t.campaign_id)"
_SUBSCRIBER_EXISTS = "(t.subscriber_id IS NULL OR EXISTS (SELECT FROM subscribers AS s WHERE s.id = t.subscriber_id))"


def _queries(table: str, *, listmonk: bool) -> Mapping[str, TextClause]:
    there = f"{_CAMPAIGN_EXISTS} AND {_SUBSCRIBER_EXISTS}"
    return load_queries(
        "parking.sql",
        events=table,
        still_there=f"AND {there}" if listmonk else "",
        deleted=f"(t.campaign_id IS NOT NULL AND NOT ({there}))" if listmonk else "false",
    )


_ANYWHERE = {table: _queries(table, listmonk=False) for table in EVENT_TABLES}
_IN_LISTMONK = {table: _queries(table, listmonk=True) for table in EVENT_TABLES}
_QUERIES = _ANYWHERE


@dataclass(frozen=True, slots=True)
class Released:
    """How many events were attributed, and the ids that delivery reports among them have taught.

    What waits for the ``taught`` ids is to be released in its turn, in a new transaction after this one's commit, and
    ``engagements``, the rows of views and clicks, are to be handed to `Results.absorb_native` then. ``more`` says that
    the limit was reached, and that the same ids are to be released once more.
    """

    events: int = 0
    taught: MessageIds = NOTHING
    engagements: tuple[int, ...] = field(default=(), compare=False)
    more: bool = False


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of the parked events that were due; ``taught`` and ``engagements`` as in `Released`."""

    attributed: int = 0
    expired: int = 0
    parked: int = 0
    taught: MessageIds = NOTHING
    engagements: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Parked:
    """How many events are parked, exactly, and since when the oldest is."""

    events: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Expired:
    """How many events have expired; if not ``exact``, there are more."""

    events: int
    exact: bool = True

    def __str__(self) -> str:
        """Say the number for people."""
        return f"{self.events:,}" if self.exact else f"more than {self.events:,}"


def release(conn: Connection, ids: MessageIds, results: Results | None = None, *, limit: int | None = None) -> Released:
    """Attribute the events, parked or expired, of those messages in ``ids`` that are tracked, and write their results.

    The cure of the race between parking and tracking is to commit first and call this in a NEW transaction, on both
    sides: whoever commits last sees the other's row. Two releases of one message at once attribute its events once.

    Of each table no more than ``limit`` events are taken by each kind of id; None takes all, however long it takes.
    """
    if not ids:
        return Released()
    results = results or Results()
    queries = _IN_LISTMONK if results.listmonk(conn).present else _ANYWHERE
    parameters = {
        "internet_message_ids": "\n".join(ids.internet),
        "azure_message_ids": "\n".join(map(str, ids.azure)),
        "limit": limit,
    }
    rows: dict[str, list[Row[Any]]] = {}
    more = False
    for table in EVENT_TABLES:
        found = conn.execute(queries[table]["release"], parameters).all()
        more |= found[0].found == limit
        rows[table] = [row for row in found if row.id is not None]
    taught = teach(conn, _pairs(rows[DELIVERIES]))  # before the results, as a drain does: both take locks
    results.compare_late(conn, ids)
    engagements = _write_results(conn, results, rows)
    return Released(sum(map(len, rows.values())), taught, engagements, more)


def sweep(
    conn: Connection,
    *,
    waits: Sequence[timedelta],
    jitter: float,
    deadline: timedelta,
    limit: int,
    results: Results | None = None,
) -> Swept:
    """Try up to ``limit`` due events of each table again, and write the results of those whose message is tracked now.

    ``waits`` are the times before the first, second, … attempt; the last repeats. Each strays by the fraction
    ``jitter`` either way. Sweeps may overlap: each due event is taken by one of them.
    """
    results = results or Results()
    queries = _IN_LISTMONK if results.listmonk(conn).present else _ANYWHERE
    parameters = {
        "waits": [wait.total_seconds() for wait in waits],
        "jitter": jitter,
        "deadline": deadline,
        "limit": limit,
    }
    rows = {table: conn.execute(queries[table]["sweep"], parameters).all() for table in EVENT_TABLES}
    states = Counter(row.state for table in EVENT_TABLES for row in rows[table])
    attributed = {table: [row for row in rows[table] if row.state == State.ATTRIBUTED] for table in EVENT_TABLES}
    taught = teach(conn, _pairs(attributed[DELIVERIES]))
    return Swept(
        attributed=states[State.ATTRIBUTED],
        expired=states[State.EXPIRED],
        parked=states[State.PARKED],
        taught=taught,
        engagements=_write_results(conn, results, attributed),
    )


def put_off(conn: Connection, wait: timedelta) -> int:
    """Have the first event that is due in each table wait for ``wait``; return how many there were.

    For events whose sweep fails for a reason that lies in them: the others are to go on.
    """
    return sum(conn.execute(_ANYWHERE[table]["put_off"], {"wait": wait}).rowcount for table in EVENT_TABLES)


def _write_results(conn: Connection, results: Results, rows: Mapping[str, Sequence[Row[Any]]]) -> tuple[int, ...]:
    deliveries, engagements = (tuple(row.id for row in rows[table]) for table in EVENT_TABLES)
    if deliveries or engagements:
        results.classify(conn, deliveries=deliveries, engagements=engagements)
        results.write(conn, deliveries=list(deliveries), engagements=list(engagements))
    return engagements


def _pairs(reports: Iterable[Row[Any]]) -> list[tuple[str, UUID]]:
    return [
        (report.internet_message_id, report.azure_message_id)
        for report in reports
        if report.internet_message_id is not None and report.azure_message_id is not None
    ]


def count_parked(conn: Connection) -> Parked:
    """Count the events that are parked, in both tables, in a time that does not depend on how many have expired."""
    rows = [conn.execute(_QUERIES[table]["count_parked"]).one() for table in EVENT_TABLES]
    return Parked(sum(row.events for row in rows), min((row.oldest_at for row in rows if row.oldest_at), default=None))


def count_expired(conn: Connection, *, most: int = MOST_EXPIRED) -> Expired:
    """Count the events that have expired, in both tables, in each up to ``most``, and tell whether there are more."""
    found = [conn.execute(_QUERIES[table]["count_expired"], {"most": most + 1}).scalar_one() for table in EVENT_TABLES]
    return Expired(sum(min(events, most) for events in found), exact=max(found) <= most)


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
