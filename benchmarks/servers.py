"""PostgreSQL and Redis to measure on, and the processes of the system that are measured.

The servers are private and new in each run. They are what production has (an fsync before each commit and before each
acknowledged append), except for what would happen at moments of its own choosing: checkpoints, autovacuum and
rewrites of the append-only file. Those are had between the rounds instead, so that each round finds the same state.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import redis

from benchmarks.seeds import seed_messages, settle
from db.migrate import upgrade
from simulator.listmonk import install as install_listmonk
from stack.errors import StackUnusable
from stack.services import remove, services
from stack.state import StateFolder

_POSTGRES: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    # When each row was committed, by the clock that the clients read too: they are on the same machine.
    "track_commit_timestamp": "on",
    "track_wal_io_timing": "on",
}
_REDIS: Final = {"auto-aof-rewrite-percentage": "0"}

#: A file that says that the folder it is in may be removed.
_MARK: Final = "benchmarks"

#: Seconds that something which ought to happen at once may take.
_PATIENCE_SECONDS = 30.0


class Lost(Exception):
    """What came out is not what went in, or a process of the system failed: the run is void."""


def expect(what: str, found: object, expected: object) -> None:
    """Compare a count with what it must be.

    Raises:
        Lost: it is another.
    """
    if found != expected:
        raise Lost(f"{what}: {found} where {expected} were expected.")


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float = _PATIENCE_SECONDS, glance: float = 0.01
) -> None:
    """Wait for ``condition``, and look every ``glance`` seconds whether it came about.

    Raises:
        Lost: it did not in time; ``what`` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Lost(f"Still waiting after {seconds:.0f} s {what}.")
        time.sleep(glance)


@dataclass
class Servers:
    """The two servers, the databases made on them, and the processes started against them."""

    state_dir: Path
    redis_url: str = field(repr=False)  # both hold passwords
    _maintenance_url: str = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def create_database(self, template_url: str | None = None) -> str:
        """Make a database like ``template_url``'s, which nobody may be connected to, or a migrated, empty one."""
        name = f"bench_{next(self._numbers)}"
        template = "template1" if template_url is None else urlsplit(template_url).path.lstrip("/")
        self._order(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        url = urlsplit(self._maintenance_url)._replace(path=f"/{name}").geturl()
        if template_url is None:
            upgrade(url)
        return url

    def create_listmonk(self, *, subscribers: int) -> str:
        """Make a migrated database inside listmonk's, with fifty campaigns."""
        name = f"bench_{next(self._numbers)}"
        self._order(f"CREATE DATABASE {name} TEMPLATE template1 STRATEGY FILE_COPY")
        url = urlsplit(self._maintenance_url)._replace(path=f"/{name}").geturl()
        with connect(url) as connection:
            install_listmonk(connection, campaigns=50, subscribers=subscribers)
            settle(connection, "campaigns", "subscribers")
        upgrade(url)
        return url

    @contextmanager
    def database(self, template_url: str | None = None) -> Iterator[str]:
        """Do `create_database` for the length of the context."""
        url = self.create_database(template_url)
        try:
            yield url
        finally:
            self._order(f"DROP DATABASE {urlsplit(url).path.lstrip('/')} WITH (FORCE)")

    def create_tracked(self, messages: int, *, listmonk: bool = False) -> str:
        """Make a database in which messages 0 to ``messages`` - 1 are tracked, and nothing else is.

        With ``listmonk``, its tables are there, with the campaigns and subscribers of those messages.
        """
        url = self.create_listmonk(subscribers=messages) if listmonk else self.create_database()
        with connect(url) as connection:
            seed_messages(connection, messages)
            settle(connection, "azure_message_tracking")
        return url

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """Have a client of an empty Redis, and empty it again."""
        with redis.Redis.from_url(self.redis_url, protocol=2, socket_timeout=60) as client:
            client.flushall()
            try:
                yield client
            finally:
                client.flushall()

    def free_port(self, name: str) -> int:
        """Return a port for the process ``name``."""
        return StateFolder(self.state_dir).endpoint(name).port

    @contextmanager
    def process(
        self, name: str, *command: str, database_url: str = "", settings: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a Python module, with its arguments, for the length of the context, against these servers.

        ``settings`` are added to its environment. Of the user's own settings none gets through: what is measured is the
        system as it comes.

        Raises:
            Lost: it ended by itself.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTRIBUTION_")}
        environment |= {
            "ATTRIBUTION_REDIS_URL": self.redis_url,
            "ATTRIBUTION_DATABASE_URL": database_url,
            "ATTRIBUTION_LOG_LEVEL": "WARNING",
        }
        with (self.state_dir / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | dict(settings or {}),
                start_new_session=True,
            )
        try:
            try:
                yield process
            except Lost:  # waited in vain, perhaps, for a process that is no more
                self._require_alive(name, process)
                raise
            self._require_alive(name, process)
        finally:
            # It has done what it was to do, and ending in order would take it seconds. Its children go with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _require_alive(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            log = self.state_dir / f"{name}.log"
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            said = " | ".join(lines[-4:]) or "nothing"
            raise Lost(f"{name} ended by itself with code {process.returncode}. It said: {said} ({log})")

    def _order(self, statement: str) -> None:
        with connect(self._maintenance_url) as connection:
            connection.execute(statement)


def connect(url: str) -> psycopg.Connection[Any]:
    """Connect in autocommit mode."""
    return psycopg.connect(url, autocommit=True)


@contextmanager
def bench_servers(state_dir: Path, *, postgres_settings: Mapping[str, str] | None = None) -> Iterator[Servers]:
    """Start new servers in ``state_dir``, which is removed at the end, unless the context fails: then it is kept.

    ``postgres_settings`` are added to those of postgresql.conf that a measurement needs, or replace them.

    Raises:
        StackUnusable: ``state_dir`` holds something else, which we are not going to remove.
        StackBusy: another run uses ``state_dir``.
        ServerFailed: a server did not start.
    """
    mark = state_dir / _MARK
    if state_dir.exists() and any(state_dir.iterdir()) and not mark.exists():
        raise StackUnusable(f"{state_dir} holds something else than benchmarks left there. Name another folder.")
    remove(state_dir)
    state_dir.mkdir(parents=True)
    mark.touch()
    settings = _POSTGRES | dict(postgres_settings or {})
    with services(state_dir, postgres_settings=settings, redis_settings=_REDIS, environment={}) as running:
        yield Servers(state_dir, running.redis_url, running.database_url)
    remove(state_dir)
