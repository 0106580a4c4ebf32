"""The system's programs, each started again whenever it ends: what Docker, systemd or Kubernetes does in production."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil

from worker.drain_keeper import COMMAND

#: Seconds before a program that ended is started again.
_RESTART_SECONDS = 0.3
#: Seconds between two looks at whether it has ended.
_GLANCE_SECONDS = 0.05
#: Seconds a program has to end in order: longer than the longest task, and than a drain's last batch.
_GRACE_SECONDS = 45.0


class Program:
    """One program under supervision.

    Args:
        environment: asked at each start, for a deploy may change it.
        log: file that takes what it says, start after start.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Callable[[], Mapping[str, str]], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.starts = 0
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._lock = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Its main process; None while it is down."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def children(self, *, drains: bool) -> list[int]:
        """Return the pids of its drain processes, or of its Celery children."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children() if self.pid else ():
                with suppress(psutil.NoSuchProcess):
                    if (COMMAND[-1] in child.cmdline()) == drains:
                        found.append(child.pid)
        return found

    def start(self) -> None:
        """Start it, and from now on again whenever it ends."""
        with self._lock:
            self._wanted = True
            self._launch()

    def kill(self) -> None:
        """End its main process as a crash would. What it had started is left to itself."""
        with self._lock:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
                self._reap()

    def kill_all(self) -> None:
        """End it with whatever it has started, at one stroke: as when its container or its machine is gone."""
        with self._lock:
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)
                self._reap()

    def restart(self) -> None:
        """End it in order, and start it: what a deploy does."""
        with self._lock:
            self.end()
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have the whole program stand still, its connections open."""
        group = self.pid
        if group is None:
            yield
            return
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)

    def end(self) -> None:
        """End it in order, for good; by force, with whatever it has started, if it takes too long."""
        with self._lock:
            self._wanted = False
            process = self._process
            if process is None:
                return
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def keep(self) -> None:
        """Start it if it should run and does not."""
        if self._lock.acquire(blocking=False):
            try:
                if self._wanted and self.pid is None:
                    self._launch()
            finally:
                self._lock.release()

    def _launch(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(10)


class Programs:
    """All of them, kept alive by a thread for the length of the context, and ended in reverse order after it."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = {program.name: program for program in programs}
        self._over = threading.Event()

    def __getitem__(self, name: str) -> Program:
        return self._programs[name]

    def __iter__(self) -> Iterator[Program]:
        return iter(self._programs.values())

    def __enter__(self) -> Self:
        self._keeper = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        for program in self:
            program.start()
        self._keeper.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._keeper.join()
        with ExitStack() as endings:
            for program in self:
                endings.callback(program.end)

    def _keep(self) -> None:
        ended_at: dict[str, float] = {}
        while not self._over.wait(_GLANCE_SECONDS):
            for program in self:
                if program.pid is not None:
                    ended_at.pop(program.name, None)
                elif time.monotonic() - ended_at.setdefault(program.name, time.monotonic()) > _RESTART_SECONDS:
                    program.keep()
