"""A file that names a running process and is locked by that process itself.

The child inherits the lock as an open file, so the kernel keeps it for exactly as long as the child lives, or one of
its own children. That makes it stronger than a process id alone: a lock that can be taken proves that nobody is left,
one that cannot be proves that somebody is, and a number that was given to a stranger since cannot deceive us.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stack.accounts import Account
from stack.errors import StackBusy

#: Seconds between two looks at a lock.
_GLANCE_SECONDS = 0.01


@dataclass(frozen=True)
class Running:
    """A process that holds its pid file."""

    pid: int
    settings: str


class PidFile:
    """The pid file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        settings: str,
        output: int | IO[bytes],
        environment: Mapping[str, str],
        account: Account | None = None,
        directory: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in a session of its own, so that Ctrl-C in our terminal does not reach it.

        ``settings`` is any text; whoever finds the process later can tell by it how it was started. ``output`` takes
        standard output and error alike.

        Raises:
            StackBusy: the process of an earlier `spawn` still runs.
            OSError: the command cannot be run.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock(descriptor):
                raise StackBusy(f"The process of {self.path} still runs.")
            os.ftruncate(descriptor, 0)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                pass_fds=(descriptor,),
                start_new_session=True,
                **({} if account is None else account.popen_arguments()),
            )
            os.write(descriptor, json.dumps({"pid": process.pid, "settings": settings}).encode())
            return process
        finally:
            # Closing is not unlocking: the child has the same open file, and with it the lock.
            os.close(descriptor)

    def running(self) -> Running | None:
        """Return the process that holds the file, or None if nobody does."""
        if self.is_free():
            return None
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            # Whoever started it was killed before it could note the number.
            raise StackBusy(f"An unknown process holds {self.path}. End it: `fuser -k {self.path}`.") from None
        return Running(pid=content["pid"], settings=content["settings"])

    def is_free(self) -> bool:
        """Say whether nobody, the process's own children included, holds the file any more."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            return _lock(descriptor)
        finally:
            os.close(descriptor)

    def wait_until_free(self, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
        """Wait for the process and its children to be gone; ``process`` is reaped if it is our own child."""
        deadline = time.monotonic() + seconds
        while not ((process is None or process.poll() is not None) and self.is_free()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_GLANCE_SECONDS)
        return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
