"""The journal of backfills and repairs: every row they change, as it was and as it became, so that they can be undone.

Rows are kept whole, as jsonb, for listmonk's tables may have columns that we do not know.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import IntegrityError

from db.giving_way import give_way
from db.sql import load_queries

TRACKING: Final = "azure_message_tracking"
DELIVERIES: Final = "azure_delivery_events"
ENGAGEMENTS: Final = "azure_engagement_events"
VIEWS: Final = "campaign_views"
CLICKS: Final = "link_clicks"
BOUNCES: Final = "bounces"
#: The tables that are journalled, in the order in which every transaction locks their rows.
TABLES: Final = (TRACKING, DELIVERIES, ENGAGEMENTS, VIEWS, CLICKS, BOUNCES)

_QUERIES = {table: load_queries("journal.sql", table=table) for table in TABLES}
_ANY = _QUERIES[TRACKING]


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run.

    First `watch` the rows that are about to change, then change them, then `write`; all of it in one transaction.
    """

    run_id: int

    def watch(self, conn: Connection, table: str, ids: Sequence[int]) -> None:
        """Lock these rows, in the order of their ids, and keep them as they are: absent, if they are not there."""
        give_way(conn)
        conn.execute(_ANY["use_utc"])
        conn.execute(_ANY["create_watched"])
        if ids:
            conn.execute(_QUERIES[table]["watch_rows"], {"ids": sorted(ids)})

    def write(self, conn: Connection, table: str, reason: str) -> int:
        """Write down what has become of the watched rows of ``table``, those that changed; return how many did."""
        changed = conn.execute(_QUERIES[table]["write_changes"], {"run_id": self.run_id, "reason": reason}).rowcount
        conn.execute(_QUERIES[table]["forget_watched"])
        return changed

    def write_inserted(self, conn: Connection, table: str, ids: Sequence[int], reason: str) -> None:
        """Write down rows, those of ``ids`` that are there, as ones that this transaction has inserted."""
        if ids:
            parameters = {"run_id": self.run_id, "reason": reason, "ids": sorted(ids)}
            conn.execute(_ANY["use_utc"])
            conn.execute(_QUERIES[table]["write_inserted"], parameters)


@dataclass(slots=True)
class Undone:
    """What an undoing did: how many rows it restored, by table, and which it left because they have changed since."""

    restored: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[str, int]] = field(default_factory=list)


@contextmanager
def taking_turns(engine: Engine) -> Iterator[bool]:
    """Yield whether this process may correct rows now: one does at a time, be it a backfill, a repair or an undoing."""
    with engine.connect() as conn:
        taken = bool(conn.execute(_ANY["take_turn"]).scalar_one())
        conn.commit()  # the session keeps the lock; an open transaction would only keep rows from being vacuumed
        try:
            yield taken
        finally:
            if taken and not conn.closed and not conn.invalidated:
                conn.execute(_ANY["end_turn"])
                conn.commit()


def find_unfinished(conn: Connection, kind: str) -> int | None:
    """Return the run of ``kind`` that was interrupted, if one was. Ask while it is your turn."""
    run: int | None = conn.execute(_ANY["find_unfinished"], {"kind": kind}).scalar_one()
    return run


def read_run(conn: Connection, run_id: int) -> Row[Any] | None:
    """Return kind, state and summary of a run."""
    return conn.execute(_ANY["read_run"], {"run_id": run_id}).one_or_none()


def keep_summary(conn: Connection, run_id: int, summary: Mapping[str, Any]) -> None:
    """Keep what a run has done so far, so that it goes on counting if it is interrupted."""
    conn.execute(_ANY["keep_summary"], {"run_id": run_id, "summary": json.dumps(summary)})


def count_changes(conn: Connection, run_id: int, *reasons: str) -> dict[str, dict[int, int]]:
    """Return how many rows a run has moved to (more than 0) and from (less) each campaign, by table."""
    changes: dict[str, dict[int, int]] = {}
    for row in conn.execute(_ANY["count_changes"], {"run_id": run_id, "reasons": list(reasons)}):
        changes.setdefault(row.table_name, {})[row.campaign_id] = row.change
    return changes


def count_reasons(conn: Connection, run_id: int) -> dict[tuple[str, str], int]:
    """Return how many changes a run has made, by reason and table."""
    rows = conn.execute(_ANY["count_reasons"], {"run_id": run_id})
    return {(row.reason, row.table_name): row.rows for row in rows}


def count_changed_rows(conn: Connection, run_id: int) -> int:
    """Return how many rows a run has changed that are not restored."""
    return int(conn.execute(_ANY["count_changed_rows"], {"run_id": run_id}).scalar_one())


def mark_undone(conn: Connection, run_id: int) -> None:
    """Write down that a run was undone."""
    conn.execute(_ANY["mark_undone"], {"run_id": run_id})


def list_changed_rows(conn: Connection, run_id: int, *, before: int = sys.maxsize, limit: int) -> Sequence[Row[Any]]:
    """Return rows that a run has changed, the last changed first, each with its ``latest`` entry in the journal."""
    return conn.execute(_ANY["list_changed_rows"], {"run_id": run_id, "before": before, "limit": limit}).all()


def restore_rows(conn: Connection, run_id: int, rows: Sequence[tuple[str, int]], undone: Undone) -> None:
    """Restore rows, given by table and id, to what they were before the run, as one part of the caller's transaction.

    A row that is no longer what the run made of it stays as it is, as does one that may not be restored any more (its
    campaign is deleted); both are among ``undone.refused``.
    """
    try:
        with conn.begin_nested():
            restored, refused = _restore(conn, run_id, rows)
    except IntegrityError:
        if len(rows) == 1:
            undone.refused += rows
            return
        middle = len(rows) // 2
        restore_rows(conn, run_id, rows[:middle], undone)
        restore_rows(conn, run_id, rows[middle:], undone)
        return
    undone.refused += refused
    for table in restored:
        undone.restored[table] = undone.restored.get(table, 0) + 1


def _restore(conn: Connection, run_id: int, rows: Sequence[tuple[str, int]]) -> tuple[list[str], list[tuple[str, int]]]:
    give_way(conn)
    conn.execute(_ANY["use_utc"])
    conn.execute(_ANY["create_undoing"])
    conn.execute(_ANY["forget_undoing"])
    wanted = {"run_id": run_id, "table_names": [table for table, _ in rows], "row_ids": [row_id for _, row_id in rows]}
    conn.execute(_ANY["find_undoing"], wanted)
    touched = {table for table, _ in rows}
    tables = {table: _columns(conn, table) for table in TABLES if table in touched}
    for table in tables:
        conn.execute(_QUERIES[table]["lock_undoing"])
        conn.execute(_QUERIES[table]["keep_unchanged"])
    for table, columns in tables.items():
        names = {
            "table": table,
            "columns": ", ".join(columns),
            "columns_but_id": ", ".join(column for column in columns if column != "id"),
            "record_columns": ", ".join(f"r.{column}" for column in columns),
        }
        queries = load_queries("journal.sql", **names)
        for query in ("restore_inserted", "restore_changed", "restore_removed"):
            conn.execute(queries[query])
    conn.execute(_ANY["mark_restored"], {"run_id": run_id})
    refused = [(row.table_name, row.row_id) for row in conn.execute(_ANY["list_refused"])]
    left = set(refused)
    return [table for table, row_id in rows if (table, row_id) not in left], refused


def _columns(conn: Connection, table: str) -> list[str]:
    return list(conn.execute(_QUERIES[table]["list_columns"]).scalars())
