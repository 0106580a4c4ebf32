"""Everything in a database, to be compared with what is there later."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, text

#: What says that a run took place, and nothing else.
RUNS = frozenset({"attribution_runs", "attribution_imports"})
#: Where each change to events and messages is noted until it is counted, though it be undone by the next.
COUNTS = frozenset({"attribution_count_changes"})


def dump(engine: Engine, *, without: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the rows of every table, each row as text, in an order of their own."""
    with engine.begin() as conn:
        tables = conn.execute(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        ).scalars()
        return {
            table: sorted(conn.execute(text(f'SELECT CAST(t AS text) FROM "{table}" AS t')).scalars())
            for table in tables.all()
            if table not in without
        }
