"""The sweep: what waits is tried again on a schedule, and messages tracked behind our back are found."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from functools import partial

from db.listmonk.native import WATCHED, Watched
from db.parking import Swept, put_off, sweep
from db.tracking import Foreign, adopt_foreign, find_foreign, respell_foreign
from tasks.context import Context, context
from tasks.patience import Pieces, patiently
from tasks.settling import release_or_leave, settle
from worker.app import app
from worker.message_id import MessageIdInvalid, normalise_message_id
from worker.telemetry import metrics

_log = logging.getLogger(__name__)

#: How long an event that cannot be released is put off, so that it does not stand in the way of the others.
PUT_OFF = timedelta(hours=1)

#: Longest that one look at many native rows goes on.
WATCH_RUN = timedelta(seconds=10)

#: Most rows of another program's looked at in one sweep.
FOREIGN_LIMIT = 5000

_sweeping = Pieces()
_watching = Pieces()


@app.task(name="sweep_parked")
def sweep_parked() -> str:
    """Release what other programs' trackings match, and retry what is due. Safe when run twice at once."""
    ctx = context()
    ctx.require_postgresql()
    adopted = adopt(ctx)
    swept = retry_due(ctx)
    # What is committed is counted before anything else can fail.
    metrics.EVENTS.labels("released", "").inc(adopted + swept.attributed)
    metrics.EVENTS.labels("expired", "").inc(swept.expired)
    settled = settle(ctx.engine, ctx.results, swept.taught, swept.engagements)
    metrics.EVENTS.labels("released", "").inc(settled)
    counts = {
        "released": adopted + settled,
        "attributed": swept.attributed,
        "expired": swept.expired,
        "parked again": swept.parked,
    }
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "nothing due"


def adopt(ctx: Context) -> int:
    """Release the events of messages that another program wrote straight into the tracking table.

    The spelling comes first, in its own transaction: events are released only for rows whose spelling every drain can
    already see. Then what waits is released in pieces, however much it is, and only then are the rows taken for ours:
    a sweep that is killed half-way finds them again.
    """

    def respell() -> int:
        with ctx.engine.begin() as conn:
            return respell_foreign(conn, _normalise_or_none, limit=FOREIGN_LIMIT)

    def find() -> Foreign:
        with ctx.engine.begin() as conn:
            return find_foreign(conn, limit=FOREIGN_LIMIT)

    def adopt_found() -> None:
        with ctx.engine.begin() as conn:
            adopt_foreign(conn, foreign.rows)

    if not patiently(respell):
        return 0
    foreign = patiently(find)
    released = settle(ctx.engine, ctx.results, foreign.ids)
    patiently(adopt_found)
    return released


def retry_due(ctx: Context) -> Swept:
    """Try what is due once more."""
    limit = ctx.settings.sweep_limit

    def sweep_due(rows: int) -> Swept:
        with ctx.engine.begin() as conn:
            return sweep(
                conn,
                waits=ctx.settings.park_schedule,
                jitter=ctx.settings.park_jitter_percent / 100,
                deadline=ctx.settings.park_deadline,
                limit=rows,
                results=ctx.results,
            )

    def put_off_first() -> int:
        with ctx.engine.begin() as conn:
            return put_off(conn, PUT_OFF)

    while (swept := release_or_leave(partial(_sweeping.run, sweep_due, limit))) is None:
        if limit == 1:
            _log.error("put off %d events that cannot be released, so that others are", patiently(put_off_first))
            return Swept()
        limit //= 2
    return swept


@app.task(name="watch_native")
def watch_native() -> str:
    """Look at what listmonk has counted itself since the last time. Safe when run twice at once."""
    ctx = context()
    ctx.require_postgresql()
    watched = watch(ctx)
    return f"counted natively {watched}" if watched else "nothing new"


def watch(ctx: Context) -> int:
    """Let listmonk's native rows count the events that they are one act with; return how many."""

    def watch_once(rows: int) -> Watched:
        with ctx.engine.begin() as conn:
            return ctx.results.watch_native(conn, limit=rows)

    absorbed = 0
    until = time.monotonic() + WATCH_RUN.total_seconds()
    while time.monotonic() < until:
        watched = patiently(lambda: _watching.run(watch_once, WATCHED))
        absorbed += watched.absorbed
        if not watched.more:
            break
    return absorbed


def _normalise_or_none(text: str) -> str | None:
    try:
        return normalise_message_id(text)
    except MessageIdInvalid:
        return None
