"""A hot standby of a PostgreSQL of the stack, to fail over to."""

from __future__ import annotations

import json
import os
import subprocess
from urllib.parse import urlsplit

import psycopg

from stack.accounts import server_environment, unprivileged_account
from stack.postgres_server import PostgresServer
from stack.postgres_software import find_programs, place_data
from stack.state import StateFolder, free_port, write_private
from tests.waiting import eventually

#: How the standby calls itself to its primary.
NAME = "standby"


class Standby(PostgresServer):
    """A copy of ``primary`` that follows it. Its password is the primary's; the caller owns the folder of ``state``."""

    def __init__(self, state: StateFolder, primary: PostgresServer) -> None:
        super().__init__(state, {"fsync": "off"})
        self._primary = primary

    def _prepare(self) -> None:
        account = unprivileged_account()
        place = place_data(self._place, account)
        if (place / "data").exists():
            return
        primary = urlsplit(self._primary.url)
        copy = place / "data"
        copy.mkdir(mode=0o700)
        if account is not None:
            os.chown(copy, account.uid, account.gid)
        subprocess.run(
            [
                find_programs(place, account) / "pg_basebackup",
                f"--pgdata={copy}",
                f"--dbname=host={primary.hostname} port={primary.port} user={primary.username} application_name={NAME}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--wal-method=stream",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            env=server_environment() | {"PGPASSWORD": str(primary.password)},
            cwd="/",
            **({} if account is None else account.popen_arguments()),
        )

    def promote(self) -> None:
        """Make it a primary, and return when it takes writes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)


def make_standby(state: StateFolder, primary: PostgresServer) -> Standby:
    """Copy ``primary``, follow it, and have each of its commits wait for the copy from now on."""
    endpoint = {"port": free_port(), "password": urlsplit(primary.url).password}
    write_private(state.path / "stack.json", json.dumps({"postgres": endpoint}))
    standby = Standby(state, primary)
    standby.start()
    with psycopg.connect(primary.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: _assert_synchronous(connection), within=30)
    return standby


def either(*servers: PostgresServer) -> str:
    """Return an address that leads to whichever of the servers takes writes."""
    parts = urlsplit(servers[0].url)
    user, at, _ = parts.netloc.rpartition("@")
    hosts = ",".join(urlsplit(server.url).netloc.rpartition("@")[2] for server in servers)
    return parts._replace(netloc=f"{user}{at}{hosts}", query="target_session_attrs=read-write").geturl()


def _assert_synchronous(primary: psycopg.Connection[tuple[object, ...]]) -> None:
    found = primary.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    assert found == [("sync",)]
