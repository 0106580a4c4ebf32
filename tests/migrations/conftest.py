"""Databases of the replaced system, filled, at any of its versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from tests.databases import DatabaseServer
from tests.migrations.replaced_system import fill, install

MakeDatabase = Callable[..., str]


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def old_database(database_server: DatabaseServer) -> Iterator[MakeDatabase]:
    """Make a database of the replaced system: ``old_database("v7.2", listmonk=True)``."""
    with ExitStack() as contexts:

        def make(version: str, *, listmonk: bool, filled: bool = True) -> str:
            url = database_server.create()
            contexts.callback(database_server.drop, url)
            with connect(url) as connection:
                install(connection, version, listmonk=listmonk)
                if filled:
                    fill(connection)
            return url

        yield make


@pytest.fixture
def copy_of(database_server: DatabaseServer) -> Iterator[Callable[[str], str]]:
    """Make a copy of a database that nobody is connected to."""
    with ExitStack() as contexts:

        def make(template: str) -> str:
            url = database_server.create(template)
            contexts.callback(database_server.drop, url)
            return url

        yield make
