"""Databases that tests make on a server and leave no trace of."""

from __future__ import annotations

import itertools
import os
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg

_MARK = "attribution_test_"


@dataclass(frozen=True)
class DatabaseServer:
    """A PostgreSQL server, known by the address of a database to give orders from."""

    url: str
    #: Part of every name, so that two test runs on one server never meet.
    run: str = field(default_factory=lambda: f"{os.getpid()}_{secrets.token_hex(3)}")
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def create(self, template: str = "template1") -> str:
        """Create a database like the one of that address or name, and return its address."""
        name = f"{_MARK}{self.run}_{next(self._numbers)}"
        self._order(f'CREATE DATABASE "{name}" TEMPLATE "{database_of(template)}" STRATEGY file_copy')
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._order(f'DROP DATABASE IF EXISTS "{database_of(url)}" WITH (FORCE)')

    def disconnect(self, url: str) -> None:
        """End every connection to a database: one that is connected to cannot be a template."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (database_of(url),)
            )

    def _order(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


def database_of(url: str) -> str:
    """Return the database that an address names; a bare name stands for itself."""
    return urlsplit(url).path.lstrip("/") if "://" in url else url
