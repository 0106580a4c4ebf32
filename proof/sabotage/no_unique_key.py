"""Insert every event that comes, however often it comes."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import text

from db import events
from proof.patching import CannotPatch, patch, replace_in

SENTENCE = "nothing in the database keeps an event from being stored, and counted, once for each delivery"
SHOWS_AS = "twice"

_TABLES: Final = ("azure_engagement_events", "azure_delivery_events")
_RULE: Final = "ON CONFLICT (event_key) DO NOTHING"

_UNIQUE_INDEXES: Final = """
SELECT i.indexrelid::regclass::text, c.conname
  FROM pg_index AS i
  LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid
 WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indkey[0] = (
       SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'event_key')
"""


def prepare(database_url: str) -> None:
    """Put an index that is not unique in place of each unique one over the event key.

    Raises:
        CannotPatch: a table has none.
    """
    with psycopg.connect(database_url) as connection:
        for table in _TABLES:
            found = connection.execute(_UNIQUE_INDEXES.encode(), [table]).fetchall()
            if not found:
                raise CannotPatch(f"{table} has no unique index on event_key any more.")
            for index, constraint in found:
                if constraint is None:
                    connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
                else:
                    drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
                    connection.execute(drop.format(sql.Identifier(table), sql.Identifier(constraint)))
            connection.execute(sql.SQL("CREATE INDEX ON {} (event_key)").format(sql.Identifier(table)))


def apply() -> None:
    """Take the rule for duplicates out of the statement that writes events."""
    for name in ("_ENGAGEMENTS", "_DELIVERIES"):
        side = getattr(events, name, None)
        if side is None:
            raise CannotPatch(f"db.events has no {name} any more.")
        patch(side, "_queries", _without_rule)


def _without_rule(queries: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {
        kind: {**named, "record_events": text(replace_in(named["record_events"].text, _RULE, ""))}
        for kind, named in queries.items()
    }
