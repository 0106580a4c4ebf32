"""What PostgreSQL and Redis of the stack have in common: started, adopted, waited for, stopped, killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from stack.errors import ServerFailed, ServerMissing
from stack.pidfile import PidFile
from stack.state import Endpoint, StateFolder, port_is_free

#: Longest wait for a server to answer. Recovery after a crash reads all that was written since the last checkpoint.
_START_SECONDS = 180.0
#: Longest wait for a stopped server's port, when it must come back on the same one.
_PORT_SECONDS = 10.0
#: How often another port is tried when somebody was quicker to take the one that was just found free.
_PORT_TRIES = 5


class Server(ABC):
    """A server of ours in a state folder. The caller owns the folder.

    ``settings`` are added to the server's own, or replace them. ``environment`` is added to that of its process.
    """

    title: ClassVar[str]
    #: Name of its data folder, its log and its pid file.
    name: ClassVar[str]
    #: What ends it, gentlest first, with the seconds each gets.
    _endings: ClassVar[tuple[tuple[signal.Signals, float], ...]]

    def __init__(
        self,
        state: StateFolder,
        settings: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._state = state
        self._settings = self._defaults() | dict(settings or {})
        self._environment = dict(environment or {})
        self._pid_file = PidFile(state.path / f"{self.name}.pid")
        self._process: subprocess.Popen[bytes] | None = None
        self._known_endpoint: Endpoint | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address with user and password. Valid while it runs, and after each `restart`."""

    @property
    def log(self) -> Path:
        """What it says."""
        return self._state.path / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process to signal, or None when it does not run."""
        running = self._pid_file.running()
        return None if running is None else running.pid

    def start(self) -> None:
        """Have it running and answering when this returns.

        One that still runs, because its owner was killed, is adopted if it answers and was started with the same
        settings and environment; otherwise it is ended first. The port is last time's unless it was taken meanwhile.

        Raises:
            ServerFailed: with the last lines of its log.
            ServerMissing: its package is not installed.
        """
        if self._adopt():
            return
        self._prepare()
        for _ in range(_PORT_TRIES):
            self._known_endpoint = self._state.endpoint(self.name)
            if self._launch():
                return
        raise ServerFailed(f"{self.title} found no free port: others took it {_PORT_TRIES} times.")

    def restart(self) -> None:
        """Start it again, on the same port, after `stop` or `kill`; stop it first if it runs."""
        self.stop()
        deadline = time.monotonic() + _PORT_SECONDS
        while not port_is_free(self._endpoint.port) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not self._launch():
            raise ServerFailed(f"{self.title} cannot come back: port {self._endpoint.port} was taken meanwhile.")

    def stop(self) -> None:
        """End it in order, by force if it will not, and return when nothing of it is left. A second call does nothing.

        Raises:
            ServerFailed: it survived even force.
        """
        for number, seconds in self._endings:
            pid = self.pid
            if pid is None:
                return
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # a paused process takes no other signal
            if self._pid_file.wait_until_free(seconds, self._process):
                return
        raise ServerFailed(f"{self.title} (process {self.pid}) does not end. See {self.log}.")

    def kill(self) -> None:
        """Kill it as a crash would, with no warning to it and no chance to tidy up, and return when it is gone."""
        for pid in self._all_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not self._pid_file.wait_until_free(10, self._process):
            raise ServerFailed(f"{self.title} is not gone 10 seconds after it was killed.")

    @property
    def _endpoint(self) -> Endpoint:
        if self._known_endpoint is None:
            raise RuntimeError(f"{self.title} has not been started")
        return self._known_endpoint

    @property
    def _fingerprint(self) -> str:
        return json.dumps([self._settings, self._environment], sort_keys=True)

    def _adopt(self) -> bool:
        running = self._pid_file.running()
        if running is None:
            return False
        self._known_endpoint = self._state.remembered(self.name)
        if self._known_endpoint and running.settings == self._fingerprint and self._answers():
            return True
        self.stop()
        return False

    def _launch(self) -> bool:
        """Start it on the endpoint's port. False if somebody else took that port first."""
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_name(self.log.name + ".old"))
        with self.log.open("wb") as log:
            self._process = self._spawn(log.fileno())
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                self._pid_file.wait_until_free(10, self._process)
                if not port_is_free(self._endpoint.port):
                    return False
                raise ServerFailed(f"{self.title} did not start. {self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self.title} did not answer in {_START_SECONDS:.0f} s. {self._last_words()}")
            time.sleep(0.02)
        return True

    def _last_words(self) -> str:
        with self.log.open(errors="replace") as log:
            lines = deque((line.strip() for line in log if line.strip()), maxlen=4)
        return f"It said: {' | '.join(lines) or 'nothing'} ({self.log})"

    def _all_pids(self) -> list[int]:
        pid = self.pid
        return [] if pid is None else [pid]

    @abstractmethod
    def _defaults(self) -> dict[str, str]:
        """Return the settings that hold unless the caller has others."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make its data folder, before its first start."""

    @abstractmethod
    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        """Start the process on the endpoint's port, its output going to the open file ``log``."""

    @abstractmethod
    def _answers(self) -> bool:
        """Say whether a client with our password is served, which proves that it is ours, too."""


def find_package(name: str, variable: str) -> Path:
    """Return the folder of an installed package, without importing it: its import has effects of its own.

    Raises:
        ServerMissing: it is not installed. ``variable`` names the setting that makes it unnecessary.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerMissing(
            f"The package {name} is not installed. Run `make setup`, or name a server of your own in {variable}."
        )
    return Path(spec.submodule_search_locations[0])
