"""Commands that work through the pipeline: its settings, and connections like its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.settings import WorkerSettings


@contextmanager
def operating(name: str, *, for_batches: bool = True) -> Iterator[tuple[Engine, WorkerSettings]]:
    """Yield connections to the database of ATTRIBUTION_DATABASE_URL, as the pipeline has them, and the settings.

    ``name`` is what PostgreSQL shows of them; ``for_batches`` as in `db.engine.create_engine`.

    Raises:
        SettingsInvalid: as `WorkerSettings.read`.
        DatabaseNotMigrated: the database is not at this release's schema.
    """
    from db.engine import create_engine
    from db.migrate import require_current
    from worker.settings import WorkerSettings

    settings = WorkerSettings.read()
    database_url = settings.database_url.get_secret_value()
    require_current(database_url)
    engine = create_engine(
        database_url, statement_timeout=settings.statement_timeout, application_name=name, for_batches=for_batches
    )
    try:
        yield engine, settings
    finally:
        engine.dispose()
