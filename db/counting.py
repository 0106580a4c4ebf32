"""The kept counts of campaigns: what statements have changed in them is added, in one transaction after another.

Nothing waits for this, and no number depends on it: the view `campaign_stats` adds what has not been added here. It
only keeps that little.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import errors

from db.sql import load_queries

#: Changes added in one transaction. A drained batch makes a few, with the rows of up to a thousand events.
CHANGES_AT_ONCE = 500

_QUERIES = load_queries("counting.sql")


@dataclass(frozen=True, slots=True)
class Counted:
    """How many changes were added, and how many times a campaign's messages, reports or acts were counted anew.

    ``busy`` if another process was at it, and this one did nothing.
    """

    changes: int = 0
    recounts: int = 0
    busy: bool = False


def count_changes(engine: sa.Engine, *, limit: int = CHANGES_AT_ONCE) -> Counted:
    """Add up to ``limit`` changes to the kept counts; where something was taken away, count all of its campaign anew.

    A transaction of its own, on a connection of ``engine``. Call it again while ``changes`` is ``limit``. Two at once
    do no harm: the second does nothing.

    Raises:
        sqlalchemy.exc.DBAPIError: nothing was counted, and nothing is lost.
    """
    try:
        with engine.begin() as conn:
            conn.execute(_QUERIES["read_one_snapshot"])
            conn.execute(_QUERIES["become_only_counter"])
            conn.execute(_QUERIES["take_time"])
            recounts = sum(_recount(conn, row.source, row.campaigns) for row in conn.execute(_QUERIES["list_recounts"]))
            return Counted(conn.execute(_QUERIES["add_changes"], {"limit": limit}).rowcount, recounts)
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, errors.LockNotAvailable):
            return Counted(busy=True)
        raise


def _recount(conn: sa.Connection, source: str, campaigns: list[int]) -> int:
    parameters = {"source": source, "campaigns": campaigns}
    conn.execute(_QUERIES["forget_counts"], parameters)
    conn.execute(_QUERIES["recount"], parameters)
    if source == "engagements":
        conn.execute(_QUERIES["forget_people"], parameters)
        conn.execute(_QUERIES["recount_people"], parameters)
    conn.execute(_QUERIES["forget_changes"], parameters)
    return len(campaigns)
