"""A database to import into: one of the pipeline's own, or one that the replaced system left."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from db.engine import create_engine
from db.migrate import upgrade
from tests.migrations import replaced_system
from tests.tasks.imports.importing import ONE, settings_of, track
from worker.settings import WorkerSettings


@pytest.fixture
def settings(database_url: str) -> WorkerSettings:
    return settings_of(database_url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    track(engine, ONE)
    yield engine
    engine.dispose()


@pytest.fixture
def taken_over(empty_database_url: str) -> Iterator[Engine]:
    """A database of the replaced system's last version, in listmonk's, that was migrated."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        replaced_system.install(connection, "v7.2", listmonk=True)
        connection.execute("TRUNCATE webhook_logs RESTART IDENTITY")
    upgrade(empty_database_url)
    engine = create_engine(empty_database_url, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def old_settings(empty_database_url: str) -> WorkerSettings:
    return settings_of(empty_database_url)
