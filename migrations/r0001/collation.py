"""Compare Message-IDs byte by byte, which is faster than by the locale's rules and cannot change with the C library.

Changing a column's collation rewrites no row, but PostgreSQL rebuilds each index that has the old one, with everybody
locked out. So the new index is built first, with the collation it is going to have, while the old one serves; then one
short transaction drops the old index and changes the column.
"""

from __future__ import annotations

from migrations.online import Online

COLUMN = "internet_message_id"
_TWIN = "_twin"

_COLLATION = """
SELECT collname FROM pg_attribute AS a JOIN pg_collation AS c ON c.oid = a.attcollation
 WHERE attrelid = to_regclass(%(table)s) AND attname = %(column)s
"""

#: Indexes on this column alone that are nobody's constraint.
_PLAIN_INDEXES = """
SELECT c.relname
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = %(column)s AND i.indkey[0] = a.attnum
 WHERE i.indrelid = to_regclass(%(table)s) AND i.indnatts = 1 AND NOT i.indisunique
 ORDER BY c.relname
"""


def recollate(online: Online, table: str) -> None:
    """Give internet_message_id of an events table the collation "C", and keep the index that the replaced system has.

    Call it before the table gets partial indexes on the column: those are always rebuilt, whatever their collation.
    """
    if _collation(online, table) == "C":
        return
    indexes = [name for name in _plain_indexes(online, table) if not name.endswith(_TWIN)]
    for name in indexes:
        # Never partial, even where the old one is, for the reason above.
        online.index(_twin(name), table, f'({COLUMN} COLLATE "C")')
    online.change(
        f"changing the collation of {table}",
        *(f'DROP INDEX "{name}"' for name in indexes),
        _retype(table),
        *(f'ALTER INDEX "{_twin(name)}" RENAME TO "{name}"' for name in indexes),
    )


def recollate_unique(online: Online, table: str, *, constraint: str) -> None:
    """Give internet_message_id of the tracking table the collation "C", and make its unique index a constraint.

    The index ``constraint`` is there already. The one that the replaced system has serves nothing that it does not.
    """
    online.change(
        f"adding {constraint}",
        *(f'DROP INDEX "{name}"' for name in _plain_indexes(online, table)),
        *([] if _collation(online, table) == "C" else [_retype(table)]),
        f"ALTER TABLE {table} ADD CONSTRAINT {constraint} UNIQUE USING INDEX {constraint}",
    )


def _twin(name: str) -> str:
    return name[: 63 - len(_TWIN)] + _TWIN


def _retype(table: str) -> str:
    return f'ALTER TABLE {table} ALTER COLUMN {COLUMN} TYPE text COLLATE "C"'


def _collation(online: Online, table: str) -> str:
    return str(online.value(_COLLATION, table=table, column=COLUMN))


def _plain_indexes(online: Online, table: str) -> list[str]:
    return [name for (name,) in online.rows(_PLAIN_INDEXES, table=table, column=COLUMN)]
