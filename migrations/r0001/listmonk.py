"""What differs in listmonk's database: its campaigns and subscribers are foreign keys of ours, and die with ours."""

from __future__ import annotations

from psycopg import errors

from migrations.online import Online

#: Column of ours, and listmonk's table whose `id` it names.
KEYS = {"campaign_id": "campaigns", "subscriber_id": "subscribers"}

#: listmonk's two tables, told from those of the same name in another mailer's database by both of their keys.
_LISTMONK = """
SELECT count(DISTINCT i.indrelid) = 2
  FROM unnest(ARRAY['campaigns', 'subscribers']) AS name
  JOIN pg_index AS i ON i.indrelid = to_regclass(name) AND i.indisprimary AND i.indnatts = 1
  JOIN pg_attribute AS id ON id.attrelid = i.indrelid AND id.attnum = i.indkey[0]
       AND id.attname = 'id' AND id.atttypid = 'int'::regtype
  JOIN pg_attribute AS uuid ON uuid.attrelid = i.indrelid AND uuid.attname = 'uuid' AND uuid.atttypid = 'uuid'::regtype
"""

_FOREIGN_KEYS = """
SELECT c.conname, c.confdeltype = 'c' AS cascades, c.convalidated
  FROM pg_constraint AS c
  JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attname = %(column)s AND c.conkey = ARRAY[a.attnum]
 WHERE c.conrelid = to_regclass(%(table)s) AND c.contype = 'f' AND c.confrelid = to_regclass(%(target)s)
"""

_LEADING_INDEX = """
SELECT count(*) FROM pg_index AS i
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = %(column)s AND i.indkey[0] = a.attnum
 WHERE i.indrelid = to_regclass(%(table)s) AND i.indisvalid AND i.indpred IS NULL
"""


def is_listmonk(online: Online) -> bool:
    """Tell whether this database is listmonk's."""
    return bool(online.value(_LISTMONK))


def reference(online: Online, table: str) -> None:
    """Let rows of ``table`` go when their campaign or subscriber is deleted, as listmonk's own do."""
    for column, target in KEYS.items():
        # Without an index, each subscriber that listmonk deletes would read the whole of `table`.
        if not online.value(_LEADING_INDEX, table=table, column=column):
            online.index(f"{table}_{column.removesuffix('_id')}", table, f"({column})")
        _foreign_key(online, table, column, target)


def _foreign_key(online: Online, table: str, column: str, target: str) -> None:
    keys = online.rows(_FOREIGN_KEYS, table=table, column=column, target=target)
    name = next((name for name, cascades, _ in keys if cascades), None)
    if name is None:
        name = f"{table}_{column}_fkey"
        # One that sets the column to NULL would leave an attributed event without its campaign, which is forbidden, and
        # so forbid listmonk to delete the campaign.
        online.change(
            f"adding {name}",
            *(f'ALTER TABLE {table} DROP CONSTRAINT "{old}"' for old, _, _ in keys),
            f"ALTER TABLE {table} ADD CONSTRAINT {name}"
            f" FOREIGN KEY ({column}) REFERENCES {target} (id) ON DELETE CASCADE NOT VALID",
        )
    if (name, True, True) not in keys:
        try:
            online.change(f"checking {name}", f'ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"')
        except errors.ForeignKeyViolation:
            online.report(
                f"{table} has rows whose {column} is not in {target}. They stay, and {name} stays NOT VALID:"
                " it holds for new rows alone"
            )
