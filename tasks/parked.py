"""The sweep: what waits is tried again on a schedule, and messages tracked behind our back are found."""

from __future__ import annotations

from db.parking import Released, Swept, release, sweep
from db.tracking import adopt_foreign, respell_foreign
from tasks.context import Context, context
from tasks.patience import patiently
from tasks.settling import release_or_leave, settle
from worker.app import app
from worker.message_id import MessageIdInvalid, normalise_message_id

#: Most rows of another program's looked at in one sweep.
FOREIGN_LIMIT = 5000


@app.task(name="sweep_parked")
def sweep_parked() -> str:
    """Release what other programs' trackings match, and retry what is due. Safe when run twice at once."""
    ctx = context()
    released = adopt(ctx)
    swept = retry_due(ctx)
    released += settle(ctx.engine, ctx.results, swept.taught, swept.engagements)
    counts = {
        "released": released,
        "attributed": swept.attributed,
        "expired": swept.expired,
        "parked again": swept.parked,
    }
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "nothing due"


def adopt(ctx: Context) -> int:
    """Release the events of messages that another program wrote straight into the tracking table.

    Two transactions, the spelling first: events are released only for rows whose spelling every drain can already see.
    """

    def respell() -> int:
        with ctx.engine.begin() as conn:
            return respell_foreign(conn, _normalise_or_none, limit=FOREIGN_LIMIT)

    def release_adopted() -> Released:
        with ctx.engine.begin() as conn:
            return release(conn, adopt_foreign(conn, limit=FOREIGN_LIMIT), ctx.results)

    if not patiently(respell):
        return 0
    released = release_or_leave(release_adopted, Released())
    return released.events + settle(ctx.engine, ctx.results, released.taught, released.engagements)


def retry_due(ctx: Context) -> Swept:
    """Try what is due once more."""

    def sweep_due() -> Swept:
        with ctx.engine.begin() as conn:
            return sweep(
                conn,
                waits=ctx.settings.park_schedule,
                jitter=ctx.settings.park_jitter_percent / 100,
                deadline=ctx.settings.park_deadline,
                limit=ctx.settings.sweep_limit,
                results=ctx.results,
            )

    return release_or_leave(sweep_due, Swept())


@app.task(name="watch_native")
def watch_native() -> str:
    """Look at what listmonk has counted itself since the last time. Safe when run twice at once."""
    watched = watch(context())
    return f"counted natively {watched}" if watched else "nothing new"


def watch(ctx: Context) -> int:
    """Let listmonk's native rows count the events that they are one act with; return how many."""

    def watch_once() -> int:
        with ctx.engine.begin() as conn:
            return ctx.results.watch_native(conn)

    return patiently(watch_once)


def _normalise_or_none(text: str) -> str | None:
    try:
        return normalise_message_id(text)
    except MessageIdInvalid:
        return None
