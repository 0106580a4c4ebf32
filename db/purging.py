"""What has been kept for long enough is removed, the oldest first and a few rows in a transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from db.sql import load_queries

_ENGAGEMENTS: Final = "azure_engagement_events"
_DELIVERIES: Final = "azure_delivery_events"
#: The tables of a campaign's rows, when what they tell of took place, and the incidents that are about one of them.
_TABLES: Final = {
    _DELIVERIES: ("event_timestamp", "message_id_replaced"),
    _ENGAGEMENTS: ("event_timestamp", "keys_disagree"),
    "azure_message_tracking": ("coalesce(sent_at, created_at)", None),
}
_QUERIES: Final = {
    table: load_queries("purging.sql", events=table, table=table, happened_at=happened_at)
    for table, (happened_at, _) in _TABLES.items()
}
_ANY: Final = _QUERIES[_ENGAGEMENTS]


def slower_clock(conn: Connection) -> datetime:
    """Return what the slower clock says, of this machine's and PostgreSQL's: neither alone may empty a table."""
    return min(datetime.now(UTC), conn.execute(select(func.now())).scalar_one())


def purge_expired(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` events of each kind that expired before ``older_than``; return how many."""
    parameters = {"older_than": older_than, "limit": limit}
    return sum(
        conn.execute(_QUERIES[table]["purge_expired"], parameters).rowcount for table in (_DELIVERIES, _ENGAGEMENTS)
    )


def purge_quarantine(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` bodies that have been in quarantine since before ``older_than``; return how many."""
    return _purge(conn, "purge_quarantine", older_than, limit)


def purge_webhooks(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` batches for the webhook that were given up before ``older_than``; return how many."""
    return _purge(conn, "purge_webhooks", older_than, limit)


def purge_journal(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` entries of runs that ended before ``older_than``, and cannot be undone then."""
    return _purge(conn, "purge_journal", older_than, limit)


def purge_erased(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Forget up to ``limit`` hashes of what was erased before ``older_than``; return how many."""
    return _purge(conn, "purge_erased", older_than, limit)


def close_campaigns(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Close up to ``limit`` campaigns in which nothing has happened since ``older_than``; return how many.

    Their numbers are final, but for late acts, and no longer depend on their rows. Two at once: the second waits.
    """
    return _purge(conn, "close_campaigns", older_than, limit)


def purge_closed(conn: Connection, older_than: datetime, *, age: timedelta, limit: int) -> int | None:
    """Remove up to ``limit`` rows of each table that belong to one closed campaign; return how many.

    A transaction of its own after that which closed the campaign. ``age`` is the retention that ``older_than`` is made
    of. None: no closed campaign has rows left that may go, or somebody is using those of one: try again later.
    """
    conn.execute(_ANY["note_who_may_not_know"])
    campaign = conn.execute(_ANY["find_closed"], {"older_than": older_than, "age": age}).scalar()
    if campaign is None:
        return None
    parameters = {"campaign_id": campaign, "older_than": older_than, "limit": limit}
    removed = 0
    full = False
    for table, (_, incident) in _TABLES.items():
        rows = conn.execute(_QUERIES[table]["purge_closed"], parameters).scalars().all()
        if incident and rows:
            conn.execute(_ANY["purge_incidents"], {"kind": incident, "subject_ids": rows})
        removed += len(rows)
        full = full or len(rows) == limit
    people = conn.execute(_ANY["forget_people"], parameters).rowcount
    if not full and people < limit:
        if any(conn.execute(_QUERIES[table]["is_left"], parameters).scalar_one() for table in _TABLES):
            return removed or None
        conn.execute(_ANY["mark_emptied"], {"campaign_id": campaign})
    return removed


def _purge(conn: Connection, query: str, older_than: datetime, limit: int) -> int:
    return conn.execute(_ANY[query], {"older_than": older_than, "limit": limit}).rowcount
