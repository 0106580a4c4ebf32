"""Backfill, repair and undo as the commands do them, without the commands."""

from __future__ import annotations

from itertools import islice

from sqlalchemy import Engine

from db.journal import Journal, Undone
from db.repair import Plan
from db.results import Results
from db.runs import finish_run
from tasks.backfill import Backfilled, begin_reading
from tasks.backfill import backfill as read_batches
from tasks.repair import begin, plan
from tasks.repair import repair as repair_batches
from tasks.repair import undo as undo_batches


def backfill(engine: Engine, *, size: int = 20, stop_after: int | None = None) -> tuple[Journal, Backfilled]:
    """Read the log, or go on with it; with ``stop_after``, as if killed after so many batches."""
    journal, kept = begin(engine, "backfill", {})
    done = Backfilled.of_summary(kept) if kept is not None else Backfilled()
    after, until = begin_reading(engine, journal, resumed=kept is not None)
    batches = read_batches(engine, journal, Results(), done, after=after, until=until, size=size)
    for _ in islice(batches, stop_after):
        pass
    return journal, done


def repair(
    engine: Engine, journal: Journal | None = None, *, size: int = 20, stop_after: int | None = None
) -> tuple[Plan, int]:
    """Repair in one go and return the plan and the run; with ``stop_after``, as if killed after so many batches."""
    planned = plan(engine, Results())
    journal = journal or begin(engine, "repair", {})[0]
    batches = repair_batches(engine, journal, planned, size=size)
    if sum(1 for _ in islice(batches, stop_after)) == stop_after:
        return planned, journal.run_id
    with engine.begin() as conn:
        finish_run(conn, journal.run_id, {})
    return planned, journal.run_id


def reasons(engine: Engine) -> dict[str, int]:
    """Return what a plan leaves unproven: how many cases of each reason."""
    return plan(engine, Results()).reasons()


def put_right(engine: Engine, *, size: int = 20) -> tuple[Plan, int]:
    """Backfill and repair as one run."""
    journal, _ = backfill(engine, size=size)
    return repair(engine, journal, size=size)


def undo(engine: Engine, run_id: int, *, size: int = 20, stop_after: int | None = None) -> Undone:
    undone = Undone()
    batches = undo_batches(engine, run_id, undone, size=size)
    for _ in islice(batches, stop_after):
        pass
    return undone
