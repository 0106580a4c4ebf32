"""Which rows each statement looks at: the plans of the very statements that are sent, told by the server at work.

PostgreSQL's auto_explain reports every plan to the session that sent the statement, with what each node really did, and
those of triggers and foreign keys too. Nothing is repeated here that could differ from what production sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg.errors import Diagnostic
from sqlalchemy.engine.interfaces import ExecutionContext

from benchmarks.servers import Lost

#: A table of fewer rows may be read whole: that is the cheapest way, whatever the others do.
SMALL: Final = 20_000

_SETTINGS: Final = {
    "log_min_duration": "0",
    "log_analyze": "on",
    "log_timing": "off",
    "log_nested_statements": "on",
    "log_format": "json",
    "log_level": "notice",
}


_PARAMETER: Final = re.compile(r"%\(\w+\)s|\$\d+")


@dataclass(frozen=True)
class Scan:
    """One node that read a table: how, and how many rows it has looked at, kept or not."""

    query: str
    node: str
    table: str
    rows: int


class Plans:
    """The scans of every statement that the connections of an engine send from now on.

    The role must be a superuser: nobody else may load auto_explain.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.scans: list[Scan] = []
        self._names: dict[str, str] = {}
        sa.event.listen(engine, "connect", self._explain)
        sa.event.listen(engine, "before_cursor_execute", self._note)

    def _explain(self, connection: psycopg.Connection[Any], _record: object) -> None:
        connection.execute("LOAD 'auto_explain'")
        for name, value in _SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", (f"auto_explain.{name}", value))
        connection.commit()
        connection.add_notice_handler(self._read)

    def _note(
        self,
        _conn: sa.Connection,
        _cursor: object,
        statement: str,
        _parameters: object,
        context: ExecutionContext | None,
        _executemany: bool,
    ) -> None:
        if context and (name := context.execution_options.get("query")):
            self._names[_comparable(statement)] = name

    def _read(self, notice: Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:")
        if found:
            # Told when the server is done with a statement, which may be when the next one has begun.
            report = json.loads(plan)
            query = _comparable(report["Query Text"])
            self.scans += _scans(self._names.get(query, query[:80]), report["Plan"])

    def of_tables(self, rows: Mapping[str, int]) -> list[Scan]:
        """Return the scans of tables that have more than `SMALL` ``rows``."""
        return [scan for scan in self.scans if rows.get(scan.table, 0) > SMALL]


def _comparable(statement: str) -> str:
    """Return a statement without what the driver writes otherwise than the server reads it."""
    return " ".join(_PARAMETER.sub("?", statement).replace("%%", "%").split())


def _scans(query: str, plan: dict[str, Any]) -> Iterator[Scan]:
    loops = plan.get("Actual Loops", 1)
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        looked_at = sum(
            plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        yield Scan(query, plan["Node Type"], plan["Relation Name"], round(looked_at * loops))
    for child in plan.get("Plans", ()):
        yield from _scans(query, child)


def table_rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return about how many rows each table has; the tables have been analysed."""
    rows = connection.execute("SELECT relname, CAST(reltuples AS bigint) FROM pg_class WHERE relkind = 'r'")
    return dict(rows.fetchall())


def read_whole(scans: Iterable[Scan], rows: Mapping[str, int], *, share: float = 0.2) -> list[Scan]:
    """Return those that read a table from one end to the other, or looked at more than a ``share`` of its many rows."""
    return [scan for scan in scans if scan.node == "Seq Scan" or scan.rows > max(SMALL, share * rows[scan.table])]


def require_no_whole(plans: Plans, rows: Mapping[str, int]) -> None:
    """Make sure that nothing has read a growing table whole.

    Raises:
        Lost: which query read which.
    """
    whole = read_whole(plans.of_tables(rows), rows)
    if whole:
        said = "; ".join(f"{scan.query} read {scan.rows:,} rows of {scan.table} by {scan.node}" for scan in whole)
        raise Lost(f"A table that grows was read whole: {said}.")
