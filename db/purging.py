"""What has been kept for long enough is removed, the oldest first and a few rows in a transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, select

from db.sql import load_queries

_ENGAGEMENTS: Final = "azure_engagement_events"
_DELIVERIES: Final = "azure_delivery_events"
_QUERIES: Final = {table: load_queries("purging.sql", events=table) for table in (_DELIVERIES, _ENGAGEMENTS)}
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


def _purge(conn: Connection, query: str, older_than: datetime, limit: int) -> int:
    return conn.execute(_ANY[query], {"older_than": older_than, "limit": limit}).rowcount
