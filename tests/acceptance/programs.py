"""Our programs as child processes of a test, each with its log, ended by the test's end at the latest."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.processes import children_of

ROOT = Path(__file__).parents[2]


class Program:
    """``attribution NAME …`` as a process group of its own; of another ``checkout``, if it is to be another release."""

    def __init__(
        self, name: str, *options: str, environment: Mapping[str, str], folder: Path, checkout: Path = ROOT
    ) -> None:
        self.log_path = folder / f"{name}-{os.urandom(3).hex()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", name, *options],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONWARNINGS": "ignore",
                    "ATTRIBUTION_METRICS_PORT": "0",
                    **environment,
                },
                cwd=checkout,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(errors="replace")

    def children(self) -> list[int]:
        """Return the pids of its direct children."""
        return children_of(self.process.pid)

    def drain_pids(self) -> list[int]:
        """Return the pids of its drain processes."""
        found = []
        for pid in self.children():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"tasks.drainer" in command:
                found.append(pid)
        return found

    def kill(self) -> None:
        """End it as `kill -9` would, its children left to themselves."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, within: float = 45) -> int:
        """Ask it to end, and return its exit code; kill the whole group if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        finally:
            self.end()

    def end(self) -> None:
        """Kill whatever is left of its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
