"""What PostgreSQL's catalogue says of our tables."""

from __future__ import annotations

from typing import Any

import psycopg

from db.tables import metadata

TABLES = list(metadata.tables)

_COLUMNS = """
SELECT c.relname || '.' || a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), 'collate ' || l.collname,
                 CASE WHEN a.attnotnull THEN 'not null' END, 'default ' || pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
 WHERE c.relname = ANY(%s) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
_CONSTRAINTS = """
SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE conrelid::regclass::text = ANY(%s) AND contype <> 'n'
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
  FROM pg_index WHERE indrelid::regclass::text = ANY(%s)
"""
_TYPES = """
SELECT typname, string_agg(enumlabel, ' ' ORDER BY enumsortorder)
  FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid GROUP BY typname
"""

Schema = dict[str, dict[str, str]]


def schema(connection: psycopg.Connection[Any]) -> Schema:
    """Return the columns, constraints, indexes and types of our tables, each with its definition."""
    return {
        "columns": dict(connection.execute(_COLUMNS, [TABLES]).fetchall()),
        "constraints": dict(connection.execute(_CONSTRAINTS, [TABLES]).fetchall()),
        "indexes": dict(connection.execute(_INDEXES, [TABLES]).fetchall()),
        "types": dict(connection.execute(_TYPES).fetchall()),
    }


def files(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the number of the file that holds each table and index: another number, and it has been rewritten."""
    cursor = connection.execute(
        "SELECT relname, pg_relation_filenode(oid) FROM pg_class"
        " WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
    )
    return dict(cursor.fetchall())
