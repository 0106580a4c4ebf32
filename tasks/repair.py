"""Repairs and their undoing, batch by batch: one transaction each, so that nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Engine

from db.journal import (
    Journal,
    Undone,
    count_changed_rows,
    find_unfinished,
    list_changed_rows,
    mark_undone,
    read_run,
    restore_rows,
    taking_turns,
)
from db.parking import EVENT_TABLES
from db.repair import Correction, Plan, confirm_events, correct_events, plan_repair
from db.results import Results
from db.runs import start_run
from tasks.patience import patiently
from worker.errors import AttributionError

#: Events corrected, or rows restored, in one transaction: some tenths of a second.
BATCH: Final = 1000


class CorrectionsBusy(AttributionError):
    """Another backfill, repair or undoing is at work in this database. Run this again when it has ended."""


class CannotUndo(AttributionError):
    """That run cannot be undone."""


@contextmanager
def my_turn(engine: Engine) -> Iterator[None]:
    """Keep other backfills, repairs and undoings out while the block runs. It takes a connection of its own.

    Raises:
        CorrectionsBusy: another one is at work.
    """
    with taking_turns(engine) as mine:
        if not mine:
            raise CorrectionsBusy
        yield


def begin(engine: Engine, kind: str, parameters: Mapping[str, Any]) -> tuple[Journal, Mapping[str, Any] | None]:
    """Begin a run, or go on with the one of this kind that was interrupted, so that one undoing covers it all.

    Returns its journal, and what an interrupted one had kept as its summary.
    """
    with engine.begin() as conn:
        if (run_id := find_unfinished(conn, kind)) is not None:
            run = read_run(conn, run_id)
            return Journal(run_id), run.summary if run is not None else None
        return Journal(start_run(conn, kind, parameters)), None


def plan(engine: Engine, results: Results) -> Plan:
    """Find what is credited wrongly; change nothing."""

    def find() -> Plan:
        with engine.begin() as conn:
            return plan_repair(conn, results.listmonk(conn), window=results.native_window)

    return patiently(find)


def repair(
    engine: Engine, journal: Journal, planned: Plan, *, pause: timedelta = timedelta(0), size: int = BATCH
) -> Iterator[int]:
    """Carry out a plan; yield how many events each batch has corrected or confirmed.

    It may be stopped after any batch. What is planned and done anew then is what is left.
    """
    for batch in planned.batches(size):

        def correct(batch: list[Correction] = batch) -> int:
            with engine.begin() as conn:
                return correct_events(conn, journal, batch)

        yield patiently(correct)
        time.sleep(pause.total_seconds())
    for table in EVENT_TABLES:
        after: int | None = 0
        while after is not None:

            def confirm(table: str = table, after: int = after) -> tuple[int, int | None]:
                with engine.begin() as conn:
                    return confirm_events(conn, journal, table, after=after, limit=size)

            confirmed, after = patiently(confirm)
            yield confirmed
            if after is not None:
                time.sleep(pause.total_seconds())


def count_to_undo(engine: Engine, run_id: int) -> int:
    """Return how many rows an undoing of the run has to look at.

    Raises:
        CannotUndo: there is no such run, or it is none that corrects rows.
    """
    with engine.begin() as conn:
        run = read_run(conn, run_id)
        if run is None:
            raise CannotUndo(f"There is no run {run_id}.")
        if run.kind not in ("repair", "backfill"):
            raise CannotUndo(f"Run {run_id} was of the kind `{run.kind}`: only repairs and backfills can be undone.")
        return count_changed_rows(conn, run_id)


def undo(
    engine: Engine, run_id: int, undone: Undone, *, pause: timedelta = timedelta(0), size: int = BATCH
) -> Iterator[int]:
    """Restore every row that a run has changed, the last changed first; yield how many rows each batch looked at.

    Rows that somebody has changed since stay, and are among ``undone.refused``. Stopped and called again, it goes on;
    called once more, it finds nothing.
    """
    with engine.begin() as conn:
        rows = list_changed_rows(conn, run_id, limit=size)
    while rows:
        chosen = [(row.table_name, row.row_id) for row in rows]

        def restore(chosen: list[tuple[str, int]] = chosen) -> Undone:
            batch = Undone()
            with engine.begin() as conn:
                restore_rows(conn, run_id, chosen, batch)
            return batch

        batch = patiently(restore)
        undone.refused += batch.refused
        for table, count in batch.restored.items():
            undone.restored[table] = undone.restored.get(table, 0) + count
        yield len(rows)
        time.sleep(pause.total_seconds())
        with engine.begin() as conn:
            rows = list_changed_rows(conn, run_id, before=rows[-1].latest, limit=size)
    with engine.begin() as conn:
        mark_undone(conn, run_id)
