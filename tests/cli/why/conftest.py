"""A database to ask `attribution why` about: listmonk's, or one without it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from db.engine import create_engine
from tests.db.listmonk.acts import Listmonk


@pytest.fixture
def engine(listmonk_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    yield from _asked(listmonk_database_url, monkeypatch)


@pytest.fixture
def alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database without a table of listmonk's."""
    yield from _asked(database_url, monkeypatch)


def _asked(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Have the command ask the database at ``url``, and yield an engine on it."""
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", url)
    engine = create_engine(url, pool_size=4, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def listmonk(listmonk_database_url: str) -> Iterator[Listmonk]:
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        yield connection
