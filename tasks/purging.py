"""The purge: archived bodies older than their retention are removed, and tallies that no alarm counts any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from db.archive import purge
from db.drift import purge_tallies
from tasks.context import Context, context
from tasks.patience import patiently
from worker.app import app

#: Rows removed in one transaction. At full load each is half a megabyte.
PURGE_LIMIT = 200
#: Longest run, well below Celery's time limit. What is left is the next run's.
PURGE_RUN = timedelta(seconds=20)
#: How long tallies are kept: twice the longest window of an alarm.
TALLIES_KEPT = timedelta(days=2)
#: Tallies removed in one transaction. They are small.
_TALLIES_LIMIT = 5000


@app.task(name="purge_archive")
def purge_archive() -> str:
    """Remove what the archive has kept for long enough, and old tallies. Safe when run twice at once."""
    ctx = context()
    purged = purge_older(ctx)
    purge_counted(ctx)
    return f"purged {purged}" if purged else "nothing to purge"


def purge_older(ctx: Context) -> int:
    """Remove rows older than the retention, a few in each transaction; return how many."""
    older_than = _now(ctx) - ctx.settings.archive_retention
    return _in_pieces(ctx, PURGE_LIMIT, lambda conn, limit: purge(conn, older_than, limit=limit))


def purge_counted(ctx: Context) -> int:
    """Remove tallies that no alarm counts any more; return how many."""
    older_than = _now(ctx) - TALLIES_KEPT
    return _in_pieces(ctx, _TALLIES_LIMIT, lambda conn, limit: purge_tallies(conn, older_than, limit=limit))


def _now(ctx: Context) -> datetime:
    """Return what the slower clock says, of this machine's and PostgreSQL's: neither alone may empty a table."""

    def ask() -> datetime:
        with ctx.engine.begin() as conn:
            return conn.execute(select(func.now())).scalar_one()

    return min(datetime.now(UTC), patiently(ask))


def _in_pieces(ctx: Context, limit: int, remove: Callable[[Connection, int], int]) -> int:
    def remove_some() -> int:
        with ctx.engine.begin() as conn:
            return remove(conn, limit)

    removed = 0
    until = time.monotonic() + PURGE_RUN.total_seconds()
    while time.monotonic() < until:
        some = patiently(remove_some)
        removed += some
        if some < limit:
            break
    return removed
