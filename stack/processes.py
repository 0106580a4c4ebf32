"""Processes that run side by side in one terminal: their lines merged, one's end the end of all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ProcessDied
from stack.pidfile import PidFile
from stack.signals import ended_in_order, undisturbed
from stack.state import HOST

#: Seconds between two looks at the processes.
_GLANCE_SECONDS = 0.05
#: How many of its last lines a process that died is remembered by.
_LAST_LINES = 15

#: Takes the name of a program and a line of its output.
Show = Callable[[str, str], None]


@dataclass(frozen=True)
class Program:
    """What to run under which name."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    #: The port it listens on once it is ready, if it listens at all.
    port: int | None = None
    #: Time it has to finish what it is doing when it is asked to end.
    grace_seconds: float = 15.0


class Supervisor:
    """Runs ``programs`` together. ``show`` is called from several threads, a line at a time.

    ``folder`` keeps their pid files. The caller owns it.
    """

    def __init__(self, folder: Path, programs: Sequence[Program], show: Show) -> None:
        def show_if_possible(name: str, line: str) -> None:
            # A terminal that was closed takes no more lines. All must still be ended in order.
            with suppress(OSError):
                show(name, line)

        self._show = show_if_possible
        self._children = [_Child(program, PidFile(folder / f"{program.name}.pid"), self._show) for program in programs]

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start the programs in order and stay until asked to end, by Ctrl-C or SIGTERM; then end them in reverse.

        ``on_ready`` is called once, when all that listen do so. What the programs have started ends with them. A second
        Ctrl-C cuts short the time they have to finish.

        Raises:
            ProcessDied: one ended by itself, and the others were ended therefore.
            KeyboardInterrupt: Ctrl-C, as ever, after all have ended.
            SystemExit: SIGTERM or SIGHUP, likewise.
        """
        with ended_in_order():
            try:
                self._end_all("ending the one that a killed run left behind", impatient=threading.Event())
                for child in self._children:
                    child.start()
                self._watch(on_ready)
            finally:
                with undisturbed() as impatient:
                    self._end_all("ending", impatient)

    def _watch(self, on_ready: Callable[[], None]) -> None:
        silent = [child.program.port for child in self._children if child.program.port]
        told = False
        while True:
            for child in self._children:
                if child.has_died():
                    raise ProcessDied(child.obituary())
            silent = [port for port in silent if not _is_listening(port)]
            if not silent and not told:
                told = True
                on_ready()
            time.sleep(_GLANCE_SECONDS)

    def _end_all(self, why: str, impatient: threading.Event) -> None:
        for child in reversed(self._children):
            if child.runs():
                self._show(child.program.name, why)
            child.end(impatient)


class _Child:
    """One program's process: not started yet, running, or ended."""

    def __init__(self, program: Program, pid_file: PidFile, show: Show) -> None:
        self.program = program
        self._pid_file = pid_file
        self._show = show
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as output:
            self._process = self._pid_file.spawn(
                self.program.command, settings="", output=output, environment=self.program.environment
            )
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()

    def runs(self) -> bool:
        return self._pid_file.running() is not None

    def has_died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def obituary(self) -> str:
        if self._reader is not None:
            self._reader.join(timeout=1)  # its last lines may still be on their way
        code = self._process.returncode if self._process else 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = "\n  ".join(self._last_lines or ["none"])
        return f"{self.program.name} {how}, so everything was stopped. Its last lines:\n  {lines}"

    def end(self, impatient: threading.Event) -> None:
        """Ask it to end, then force it, and whatever it started. A killed run's process of that name ends likewise."""
        running = self._pid_file.running()
        pid = running.pid if running else self._process.pid if self._process else None
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.program.grace_seconds
        while self._lives(pid) and not impatient.is_set() and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)
        # It leads a group of its own, which holds whatever it started.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._pid_file.wait_until_free(10, self._process)
        if self._reader is not None:
            self._reader.join(timeout=1)

    def _lives(self, pid: int) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as output:
            for line in output:
                self._last_lines.append(line.rstrip())
                self._show(self.program.name, line.rstrip())


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0
