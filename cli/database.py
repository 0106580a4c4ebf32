"""The operator's commands on the database: one connection, one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from db.engine import create_engine
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def connected() -> Iterator[Connection]:
    """Open a transaction on the database of ATTRIBUTION_DATABASE_URL, committed at the end."""
    from db.migrate import require_current

    database_url = WorkerSettings.read().database_url.get_secret_value()
    require_current(database_url)
    engine = create_engine(database_url, application_name="attribution command", statement_timeout=None)
    try:
        with engine.begin() as conn:
            yield conn
    finally:
        engine.dispose()
