"""The demo's world: an empty database and an empty Redis, made for it, and the system's processes running on them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from cli.failures import Failed
from stack.postgres_server import PostgresServer
from stack.processes import Program
from stack.services import Services
from stack.state import HOST
from worker.streams import EVENTS

_PREFIX = "attribution_demo_"


class Unsound(Failed):
    """An event of the demo did not end where it belongs."""


@dataclass(frozen=True)
class World:
    """Where things are, and the secrets that open them."""

    database_url: str
    redis_url: str
    port: int
    event_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    message_secret: str = field(default_factory=lambda: secrets.token_hex(24))

    @property
    def receiver_url(self) -> str:
        """The address of the receiver."""
        return f"http://{HOST}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the environment of the system's processes and commands."""
        return {
            # The demo shows the system as it comes. Of the user's own settings it takes the servers only.
            **{name: value for name, value in os.environ.items() if not name.startswith("ATTRIBUTION_")},
            "ATTRIBUTION_DATABASE_URL": self.database_url,
            "ATTRIBUTION_REDIS_URL": self.redis_url,
            "ATTRIBUTION_ALLOW_UNSAFE_REDIS": os.environ.get("ATTRIBUTION_ALLOW_UNSAFE_REDIS", "false"),
            "ATTRIBUTION_HOST": HOST,
            "ATTRIBUTION_PORT": str(self.port),
            "ATTRIBUTION_EVENT_SECRETS": self.event_secret,
            "ATTRIBUTION_MESSAGE_SECRETS": self.message_secret,
            "ATTRIBUTION_LOG_FORMAT": "console",
            "ATTRIBUTION_METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def programs(self) -> list[Program]:
        """Return the processes of the system, as they run in production."""
        environment = self.environment()
        return [
            Program("receiver", [sys.executable, "-m", "cli", "receiver"], environment, port=self.port),
            Program("worker", [sys.executable, "-m", "cli", "worker"], environment, grace_seconds=30),
            Program("beat", [sys.executable, "-m", "cli", "beat"], environment),
        ]

    def run(self, *command: str, columns: int = 80) -> str:
        """Run ``attribution`` with a command, as an operator would, and return what it printed.

        Raises:
            Failed: it did not end well; with what it said.
        """
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *command],
            env={**self.environment(), "COLUMNS": str(columns)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if ran.returncode:
            raise Failed(f"`attribution {' '.join(command)}` ended with {ran.returncode}: {ran.stderr.strip()}")
        return ran.stdout


@contextmanager
def empty_database(servers: Services) -> Iterator[str]:
    """Make a database for the length of the context, and yield its address; one of the user's own is never touched.

    After `Unsound` it is kept, to be looked at.
    """
    if servers.postgres:
        _drop_leftovers(servers.postgres)
    name = _PREFIX + secrets.token_hex(4)
    try:
        _order(servers.database_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege:
        raise Failed(
            "The demo makes a database of its own, and the role of ATTRIBUTION_DATABASE_URL may not create one. "
            "Unset ATTRIBUTION_DATABASE_URL to use the embedded server."
        ) from None
    try:
        yield urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()
    except Unsound as unsound:
        raise Unsound(f"{unsound.message} The database {name} is kept.") from None
    except BaseException:
        _drop(servers.database_url, name)
        raise
    _drop(servers.database_url, name)


@contextmanager
def empty_redis(servers: Services) -> Iterator[str]:
    """Yield the address of an empty Redis; one of the user's own must be empty, and is so again afterwards."""
    with redis.Redis.from_url(servers.redis_url, socket_timeout=10) as client:
        if servers.redis:
            client.flushall()
        elif client.dbsize():
            raise Failed(
                "The demo needs an empty Redis, and the one of ATTRIBUTION_REDIS_URL holds keys. "
                "Name another database of it, such as …/9, or unset ATTRIBUTION_REDIS_URL to use the embedded server."
            )
        try:
            yield servers.redis_url
        finally:
            client.flushdb()


def await_drain(redis_url: str, *, within: float = 30.0) -> None:
    """Wait until the worker drains: from then on, what is seen to be parked is parked, and not only late.

    Raises:
        Failed: it does not begin in that many seconds.
    """
    deadline = time.monotonic() + within
    with redis.Redis.from_url(redis_url, socket_timeout=10) as client:
        while not client.exists(EVENTS) or not client.xinfo_groups(EVENTS):
            if time.monotonic() > deadline:
                raise Failed(f"The worker does not drain the stream after {within:.0f} s.")
            time.sleep(0.05)


def _drop_leftovers(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (_PREFIX,)
        ).fetchall()
    for (name,) in names:
        _drop(server.url, name)


def _drop(url: str, name: str) -> None:
    _order(url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _order(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
