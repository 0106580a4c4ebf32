"""Databases after the accident, migrated, and the commands that put them right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from db.engine import create_engine
from db.migrate import upgrade
from simulator import replaced_system
from simulator.accident import SMALL, Accident, Size
from tests.databases import DatabaseServer

#: The tables that an undoing restores byte for byte.
RESTORED = (
    "azure_message_tracking",
    "azure_engagement_events",
    "azure_delivery_events",
    "campaign_views",
    "link_clicks",
    "bounces",
)
#: Those in which nothing may change in a dry run.
ALL = (*RESTORED, "links", "webhook_logs", "attribution_runs", "attribution_imports", "attribution_journal")


@dataclass(frozen=True)
class Site:
    """A database after the accident: its address, what was made, and an engine on it."""

    url: str
    accident: Accident
    engine: Engine

    def rows(self, query: str, *values: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def change(self, query: str, *values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(query.encode(), values or None)

    def dump(self, *tables: str) -> dict[str, bytes]:
        """Return the tables as COPY writes them, in the order of their ids: the bytes to be restored."""
        dumps = {}
        with psycopg.connect(self.url, autocommit=True) as connection:
            for table in tables:
                key = "source" if table == "attribution_imports" else "id"
                with connection.cursor().copy(
                    f"COPY (SELECT * FROM {table} ORDER BY {key}) TO STDOUT".encode()
                ) as copy:
                    dumps[table] = b"".join(bytes(part) for part in copy)
        return dumps

    def per_campaign(self, table: str) -> dict[int, int]:
        return dict(self.rows(f"SELECT campaign_id, count(*)::int FROM {table} GROUP BY 1 ORDER BY 1"))


MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def _small_accident(database_server: DatabaseServer) -> Iterator[tuple[str, Accident]]:
    url = database_server.create()
    try:
        accident = _happen(url, SMALL)
        database_server.disconnect(url)
        yield url, accident
    finally:
        database_server.drop(url)


@pytest.fixture
def make_site(database_server: DatabaseServer, _small_accident: tuple[str, Accident]) -> Iterator[MakeSite]:
    """Make a database after the accident, a small one unless a size is given, and migrated."""
    with ExitStack() as contexts:

        def make(size: Size = SMALL) -> Site:
            template, accident = _small_accident
            url = database_server.create(template) if size == SMALL else database_server.create()
            contexts.callback(database_server.drop, url)
            if size != SMALL:
                accident = _happen(url, size)
            engine = create_engine(url, pool_size=4)
            contexts.callback(engine.dispose)
            return Site(url, accident, engine)

        yield make


def _happen(url: str, size: Size) -> Accident:
    with psycopg.connect(url, autocommit=True) as connection:
        accident = replaced_system.install(connection, size)
    upgrade(url)
    return accident


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture
def listmonk_site(listmonk_database_url: str) -> Iterator[Site]:
    """A database of listmonk's with nothing in it, for a case made by hand."""
    engine = create_engine(listmonk_database_url, pool_size=4)
    yield Site(listmonk_database_url, Accident(SMALL), engine)
    engine.dispose()


@pytest.fixture
def lone_site(database_url: str) -> Iterator[Site]:
    """A database without listmonk."""
    engine = create_engine(database_url, pool_size=4)
    yield Site(database_url, Accident(SMALL), engine)
    engine.dispose()
