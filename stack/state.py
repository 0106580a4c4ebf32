"""The folder of one stack: who owns it, and the ports and passwords it keeps from run to run.

``lock``        held by the owner for its life, and names it
``stack.json``  ports and passwords, readable by its user only
``postgres/``   data of PostgreSQL; a link to a private folder elsewhere if its user cannot reach this place
``redis/``      data of Redis
``*.log``       what the servers said in their present run; ``*.log.old`` in the one before
``*.pid``       see `stack.pidfile`
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.errors import ServerFailed, StackBusy, StackUnusable

HOST = "127.0.0.1"

#: Below every system's range of ephemeral ports. From inside it, a client that redials a stopped server's port may be
#: given that very port as its own, connect to itself, and so keep the server from coming back.
_PORTS = range(15_000, 32_000)

_PORT_TRIES = 200


@dataclass(frozen=True)
class Endpoint:
    """Where a server of the stack listens on the loopback address, and its password."""

    port: int
    password: str


class StateFolder:
    """The folder of one stack. It is made when it is first owned."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Be the one owner of the folder for the length of the context.

        Raises:
            StackBusy: another process is.
            StackUnusable: the folder cannot be made or written.
        """
        descriptor = self._open_lock()
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackBusy(self._describe_owner(descriptor)) from None
            if not self._is_lock(descriptor):
                raise StackBusy(self._says_it_goes())
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {shlex.join(sys.argv)[:200]}".encode())
            yield
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the folder, which must be `owned`; the lock goes last, so that nobody else owns what is removed."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()
        (self.path / "lock").unlink()
        with suppress(OSError):  # there is a new owner already
            self.path.rmdir()

    def _open_lock(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise StackBusy(self._says_it_goes()) from None
        except OSError as error:
            raise StackUnusable(
                f"{self.path} cannot be used: {error.strerror}. It may belong to another user: "
                "remove it as that user, or name another folder."
            ) from None

    def _says_it_goes(self) -> str:
        return f"The stack in {self.path} is being removed by another process. Try again."

    def _is_lock(self, descriptor: int) -> bool:
        """Tell whether what is locked is still the lock: its owner may have removed the folder since it was opened."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.path / "lock").stat())
        except FileNotFoundError:
            return False

    def _describe_owner(self, descriptor: int) -> str:
        pid, _, command = os.pread(descriptor, 1000, 0).decode(errors="replace").partition(" ")
        owner = f"process {pid} ({command})" if pid else "another process"
        end_it = f"`kill {pid}`" if pid else "end it"
        return (
            f"The stack in {self.path} is already in use by {owner}. "
            f"Stop that one first (Ctrl-C in its terminal, or {end_it}), or name another folder for this one."
        )

    def endpoint(self, server: str) -> Endpoint:
        """Return the endpoint of ``server``: last time's, on another port if that one has been taken meanwhile."""
        endpoint = self.remembered(server)
        if endpoint is not None and port_is_free(endpoint.port):
            return endpoint
        return self._remember(server, Endpoint(free_port(), endpoint.password if endpoint else secrets.token_hex(24)))

    def remembered(self, server: str) -> Endpoint | None:
        """Return the endpoint ``server`` had last time, if it ever had one."""
        content = self._read().get(server)
        return None if content is None else Endpoint(port=int(content["port"]), password=str(content["password"]))

    def _remember(self, server: str, endpoint: Endpoint) -> Endpoint:
        content = self._read() | {server: asdict(endpoint)}
        write_private(self.path / "stack.json", json.dumps(content, indent=1))
        return endpoint

    def _read(self) -> dict[str, dict[str, int | str]]:
        try:
            content: dict[str, dict[str, int | str]] = json.loads((self.path / "stack.json").read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise StackUnusable(f"{self.path / 'stack.json'} is damaged. Remove the folder {self.path}.") from None
        return content


def write_private(path: Path, content: str, uid: int = -1) -> None:
    """Write a file that only its user can read: whole or not at all, and never readable by others in between.

    ``uid`` names another user to give it to.
    """
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        if uid != -1:
            os.fchown(descriptor, uid, -1)
    unfinished.replace(path)


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # As the servers do; otherwise connections of a former run that linger in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that a server could listen on now, and that the system gives to no client by itself."""
    for _ in range(_PORT_TRIES):
        port = random.choice(_PORTS)
        if port_is_free(port):
            return port
    raise ServerFailed(f"No free port between {_PORTS.start} and {_PORTS.stop} on {HOST}.")
