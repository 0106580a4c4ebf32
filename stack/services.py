"""PostgreSQL and Redis for as long as a context lasts: the user's own if they are named, else ones of the stack."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.postgres_server import PostgresServer
from stack.postgres_software import remove_data
from stack.redis_server import RedisServer
from stack.server import Server
from stack.signals import ended_in_order, undisturbed
from stack.state import StateFolder

#: Names of the environment that hold the address of a server to use in place of an embedded one.
DATABASE_URL = "ATTRIBUTION_DATABASE_URL"
REDIS_URL = "ATTRIBUTION_REDIS_URL"


@dataclass(frozen=True)
class Services:
    """Addresses with passwords; and the embedded servers themselves, None where the user's own is used."""

    database_url: str
    redis_url: str
    postgres: PostgresServer | None
    redis: RedisServer | None

    def environment(self) -> dict[str, str]:
        """Return the variables that lead our processes to these servers."""
        return {DATABASE_URL: self.database_url, REDIS_URL: self.redis_url}


@contextmanager
def services(
    state_dir: Path,
    *,
    postgres_settings: Mapping[str, str] | None = None,
    redis_settings: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Services]:
    """Have both servers running inside the context, and stop at its end what it started or adopted.

    ``state_dir`` keeps their data, ports and passwords for the next time. Inside the context SIGTERM and SIGHUP raise
    `SystemExit`, so that they too end in order.

    Raises:
        StackBusy: another process owns ``state_dir``.
        ServerFailed: a server did not start.
    """
    state = StateFolder(state_dir)
    with ExitStack() as stack:
        stack.enter_context(state.owned())
        stack.enter_context(ended_in_order())
        postgres = None if environment.get(DATABASE_URL) else PostgresServer(state, postgres_settings)
        redis = None if environment.get(REDIS_URL) else RedisServer(state, redis_settings)
        for server in (postgres, redis):
            if server is not None:
                # Before its start, which may be interrupted half-way.
                stack.callback(_stop, server)
                server.start()
        yield Services(
            database_url=postgres.url if postgres else environment[DATABASE_URL],
            redis_url=redis.url if redis else environment[REDIS_URL],
            postgres=postgres,
            redis=redis,
        )


def remove(state_dir: Path) -> None:
    """Remove the folder of a stack with everything in it, after stopping what a killed owner left running.

    Raises:
        StackBusy: its owner lives.
    """
    if not state_dir.exists():
        return
    state = StateFolder(state_dir)
    with state.owned():
        for server in (PostgresServer(state), RedisServer(state)):
            _stop(server)
        remove_data(state.path / PostgresServer.name)
        state.remove()


def _stop(server: Server) -> None:
    with undisturbed():
        server.stop()
