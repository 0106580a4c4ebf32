"""What has changed in the counts of campaigns is added to those that are kept."""

from __future__ import annotations

import time
from datetime import timedelta

from db.counting import CHANGES_AT_ONCE, Counted, count_changes
from tasks.context import Context, context
from tasks.patience import patiently
from worker.app import app

#: Longest run; what is left is the next one's.
COUNT_RUN = timedelta(seconds=30)
#: Longest that counting a campaign of millions anew may take.
_LIMIT_SECONDS = 3600


@app.task(name="count_campaigns", soft_time_limit=_LIMIT_SECONDS, time_limit=_LIMIT_SECONDS + 60)
def count_campaigns() -> str:
    """Add what has changed to the counts of campaigns. Safe when run twice at once."""
    counted = count(context())
    return f"{counted.changes} changes added, {counted.recounts} recounts"


def count(ctx: Context, *, limit: int = CHANGES_AT_ONCE) -> Counted:
    """Add changes until there are none, up to ``limit`` in one transaction; return how many in all."""
    changes = recounts = 0
    until = time.monotonic() + COUNT_RUN.total_seconds()
    while time.monotonic() < until:
        counted = patiently(lambda: count_changes(ctx.engine, limit=limit))
        changes += counted.changes
        recounts += counted.recounts
        if counted.changes < limit:
            break
    return Counted(changes, recounts)
