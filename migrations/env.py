"""What Alembic runs: on the connection that db/migrate.py hands it, or, from its own command line, on the settings'."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.schema import SchemaItem

from db.migrate import session
from db.tables import VERSION_TABLE, metadata
from worker.settings import WorkerSettings


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Keep autogenerate away from listmonk's tables: it would propose to drop them."""
    return kind != "table" or name in metadata.tables


def _is_compared(
    _item: SchemaItem, _name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Leave in place what listmonk's database has besides: its foreign keys, and the replaced system's indexes."""
    return not (kind in ("foreign_key_constraint", "index") and reflected and compare_to is None)


def _migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_name=_is_ours,
        include_object=_is_compared,
        compare_server_default=True,
    )
    context.run_migrations()  # in autocommit mode: each step of a migration is a transaction of its own


given: sa.Connection | None = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    with session(WorkerSettings.read().database_url.get_secret_value(), report=context.config.print_stdout) as own:
        _migrate(own)
