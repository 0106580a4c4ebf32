"""listmonk's database, empty of acts, and a look at what it counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from db.engine import create_engine


@pytest.fixture
def engine(listmonk_database_url: str) -> Iterator[Engine]:
    engine = create_engine(listmonk_database_url, pool_size=8, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def listmonk(listmonk_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of listmonk's own, each statement a transaction."""
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        yield connection
