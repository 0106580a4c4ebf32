"""The kept counts of campaigns: what statements have changed in them is added, in one transaction after another.

Nothing waits for this, and no number depends on it: the view `campaign_stats` adds what has not been added here. It
only keeps that little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from psycopg import errors

from db.allowance import allow_time
from db.sql import load_queries

#: Changes added in one transaction. A drained batch makes a few, with the rows of up to a thousand events.
CHANGES_AT_ONCE = 500
#: Longest that it may take to add changes, of the rows of up to half a million events.
LONGEST_ADDITION = timedelta(minutes=2)
#: Longest that one statement of a recount may take. Two read all acts of a campaign, which may be millions.
LONGEST_STATEMENT = timedelta(minutes=25)

_QUERIES = load_queries("counting.sql")


@dataclass(frozen=True, slots=True)
class Counted:
    """How many changes were added, or are in a recount, and how many times a campaign's messages, reports or acts were.

    ``busy`` if another process was at it, and this one did nothing.
    """

    changes: int = 0
    recounts: int = 0
    busy: bool = False


def count_changes(engine: sa.Engine, *, limit: int = CHANGES_AT_ONCE) -> Counted:
    """Add up to ``limit`` changes to the kept counts; if that was all, count one campaign anew that waits for it.

    A transaction for the changes and one for the recount, on connections of ``engine``: a recount may take long, so
    what can be added comes first, and each recount is kept whatever becomes of the next. Call it again while
    ``changes`` is ``limit`` or there was a recount. Two at once do no harm: the second does nothing.

    Raises:
        sqlalchemy.exc.DBAPIError: that transaction counted nothing, and nothing is lost.
    """
    added = _as_only_counter(engine, lambda conn: _add(conn, limit))
    if added.busy or added.changes == limit:
        return added
    recounted = _as_only_counter(engine, _recount)
    return Counted(added.changes + recounted.changes, recounted.recounts)


def _as_only_counter(engine: sa.Engine, count: Callable[[sa.Connection], Counted]) -> Counted:
    try:
        with engine.begin() as conn:
            conn.execute(_QUERIES["read_one_snapshot"])
            conn.execute(_QUERIES["become_only_counter"])
            conn.execute(_QUERIES["plan_for_few"])
            return count(conn)
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, errors.LockNotAvailable):
            return Counted(busy=True)
        raise


def _add(conn: sa.Connection, limit: int) -> Counted:
    with allow_time(conn, LONGEST_ADDITION):
        return Counted(conn.execute(_QUERIES["add_changes"], {"limit": limit}).rowcount)


def _recount(conn: sa.Connection) -> Counted:
    due = conn.execute(_QUERIES["find_recount"]).one_or_none()
    if due is None:
        return Counted()
    campaign = {"source": due.source, "campaign_id": due.campaign_id}
    # Only now: a server that falls silent is waited for as long as a statement may take.
    with allow_time(conn, LONGEST_STATEMENT):
        conn.execute(_QUERIES["forget_counts"], campaign)
        conn.execute(_QUERIES["recount"], campaign)
        if due.source == "engagements":
            conn.execute(_QUERIES["forget_people"], campaign)
            conn.execute(_QUERIES["recount_people"], campaign)
        return Counted(conn.execute(_QUERIES["forget_changes"], campaign).rowcount, recounts=1)
