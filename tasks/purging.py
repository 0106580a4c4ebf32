"""The purge: whatever has been kept for as long as its class is to be kept is removed, a few rows at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db.archive import purge
from db.drift import purge_tallies
from db.emptying import Emptying, purge_closed
from db.purging import (
    close_campaigns,
    purge_erased,
    purge_expired,
    purge_journal,
    purge_quarantine,
    purge_webhooks,
    slower_clock,
)
from tasks.context import Context, context
from tasks.patience import patiently, said_of
from worker.app import app

_log = logging.getLogger(__name__)

#: Rows removed in one transaction. At full load each of the archive is half a megabyte.
PURGE_LIMIT = 200
#: Longest run of one class, well below Celery's time limit for all of them. What is left is the next run's.
PURGE_RUN = timedelta(seconds=20)
#: How long tallies are kept: twice the longest window of an alarm.
TALLIES_KEPT = timedelta(days=2)
#: Small rows removed in one transaction.
SMALL_LIMIT = 2000
_LIMIT_SECONDS = 600

#: Removes up to so many rows, and tells how many there were.
Remove = Callable[[Connection, int], int]


@app.task(name="purge", soft_time_limit=_LIMIT_SECONDS, time_limit=_LIMIT_SECONDS + 60)
def purge_all() -> str:
    """Remove what has been kept for long enough. Safe when run twice at once."""
    return _purge_all()


def _purge_all() -> str:
    ctx = context()
    ctx.require_postgresql()
    removed = {name: count for name, count in purge_classes(ctx) if count}
    return ", ".join(f"{name} {count}" for name, count in removed.items()) or "nothing to purge"


@app.task(name="purge_archive", soft_time_limit=_LIMIT_SECONDS, time_limit=_LIMIT_SECONDS + 60)
def purge_archive() -> str:
    """Do the same by the name that the beat of the release before still calls it by."""
    return _purge_all()


def purge_classes(ctx: Context) -> Iterator[tuple[str, int]]:
    """Purge one class after the other, each for its time at most; yield its name and how many rows were removed.

    A class that cannot be purged, because it has become too much for one statement, say, keeps no other from being.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: when all is done, the failure of the first class that could not be purged.
        worker.errors.DatabaseAway: one failed, and PostgreSQL cannot be used; the others were not tried.
    """
    first: SQLAlchemyError | None = None
    for name, purge_class in _classes(ctx, _now(ctx)):
        try:
            removed = purge_class()
        except SQLAlchemyError as error:
            _log.error("%s could not be purged: %s", name, said_of(error))
            first = first or error
            ctx.require_postgresql()
        else:
            yield name, removed
    if first is not None:
        raise first


def _classes(ctx: Context, now: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
    settings = ctx.settings

    def older(remove: Callable[..., int], retention: timedelta, limit: int = SMALL_LIMIT) -> Callable[[], int]:
        return lambda: _in_pieces(ctx, limit, lambda conn, most: remove(conn, now - retention, limit=most))

    yield "archive", older(purge, settings.archive_retention, PURGE_LIMIT)
    yield "quarantine", older(purge_quarantine, settings.quarantine_retention, PURGE_LIMIT)
    yield "expired", older(purge_expired, settings.parked_retention)
    yield "webhooks", older(purge_webhooks, settings.webhook_retention)
    yield "journal", older(purge_journal, settings.journal_retention)
    yield "erased", older(purge_erased, settings.erased_retention)
    yield "tallies", older(purge_tallies, TALLIES_KEPT)
    if (retention := settings.event_retention) is not None:
        yield "campaigns closed", older(close_campaigns, retention)
        yield "events", lambda: _purge_events(ctx, now, retention)


def _purge_events(ctx: Context, now: datetime, retention: timedelta) -> int:
    """Remove rows of closed campaigns until none may go, or the time is over."""
    emptying = Emptying()

    def remove_some() -> int | None:
        try:
            with ctx.engine.begin() as conn:
                return purge_closed(conn, emptying, now - retention, age=retention, limit=SMALL_LIMIT)
        except BaseException:
            emptying.forget()
            raise

    removed = 0
    until = time.monotonic() + PURGE_RUN.total_seconds()
    while time.monotonic() < until and (some := patiently(remove_some)) is not None:
        removed += some
    return removed


def _now(ctx: Context) -> datetime:
    def ask() -> datetime:
        with ctx.engine.begin() as conn:
            return slower_clock(conn)

    return patiently(ask)


def _in_pieces(ctx: Context, limit: int, remove: Remove) -> int:
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
