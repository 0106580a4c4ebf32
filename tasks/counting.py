"""What has changed in the counts of campaigns is added to those that are kept."""

from __future__ import annotations

import time
from datetime import timedelta

from db.counting import CHANGES_AT_ONCE, Counted, count_changes
from tasks.context import Context, context
from tasks.patience import patiently
from worker.app import app

#: Longest run before its last recount; what is left is the next one's.
COUNT_RUN = timedelta(seconds=30)
#: Longest that a run whose last recount is of a campaign of millions may take.
_LIMIT_SECONDS = 3600


@app.task(name="count_campaigns", soft_time_limit=_LIMIT_SECONDS, time_limit=_LIMIT_SECONDS + 60)
def count_campaigns() -> str:
    """Add what has changed to the counts of campaigns. Safe when run twice at once."""
    ctx = context()
    ctx.require_postgresql()
    counted = count(ctx)
    return f"{counted.changes} changes added, {counted.recounts} recounts"


def count(ctx: Context, *, limit: int = CHANGES_AT_ONCE) -> Counted:
    """Add changes, up to ``limit`` in one transaction, and recount campaigns, until there is nothing left to do.

    After each recount, which may have taken long, what has changed meanwhile is added before the next one.
    """
    changes = recounts = 0
    until = time.monotonic() + COUNT_RUN.total_seconds()
    while time.monotonic() < until:
        counted = patiently(lambda: count_changes(ctx.engine, limit=limit))
        changes += counted.changes
        recounts += counted.recounts
        if counted.changes < limit and not counted.recounts:
            break
    return Counted(changes, recounts)
