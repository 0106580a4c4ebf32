"""The purge: archived bodies older than their retention are removed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from db.archive import purge
from tasks.context import Context, context
from tasks.patience import patiently
from worker.app import app

#: Rows removed in one transaction. At full load each is half a megabyte.
PURGE_LIMIT = 200
#: Longest run, well below Celery's time limit. What is left is the next run's.
PURGE_RUN = timedelta(seconds=30)


@app.task(name="purge_archive")
def purge_archive() -> str:
    """Remove what the archive has kept for long enough. Safe when run twice at once."""
    purged = purge_older(context())
    return f"purged {purged}" if purged else "nothing to purge"


def purge_older(ctx: Context) -> int:
    """Remove rows older than the retention, a few in each transaction; return how many."""
    older_than = datetime.now(UTC) - ctx.settings.archive_retention

    def purge_some() -> int:
        with ctx.engine.begin() as conn:
            return purge(conn, older_than, limit=PURGE_LIMIT)

    purged = 0
    until = time.monotonic() + PURGE_RUN.total_seconds()
    while time.monotonic() < until:
        removed = patiently(purge_some)
        purged += removed
        if removed < PURGE_LIMIT:
            break
    return purged
