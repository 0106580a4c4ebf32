"""The disk below Redis: its fsyncs watched, delayed, and taken at their word when the power goes; and filled up.

What a process has written outlives it, for the kernel holds it; what was not synced does not outlive the machine. To
see the difference without pulling a plug, Redis is traced: a file is safe up to the length that it had when an fsync of
it began that has since succeeded. At the power cut Redis is killed, and every file of its append-only log is cut to
what was safe. No machine that keeps the promise of fsync loses more; a real one mostly loses less.
"""

from __future__ import annotations

import os
import platform
import queue
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from proof.ptrace import (
    EVENT_STOP,
    INTERRUPT,
    LISTEN,
    SEIZE,
    SYNCS,
    SYSCALL,
    TRACE_NEW_THREADS,
    TRACE_SYSTEM_CALLS,
    TRACED,
    CannotTrace,
    Entry,
    Ptrace,
)
from stack.redis_server import RedisServer

_STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
#: Seconds between two looks while an fsync is held.
_GLANCE_SECONDS = 0.001
_CALL_SECONDS = 10.0
_FOREVER = float("inf")


class Disk:
    """The disk of a running Redis, from now on. What its log holds already counts as safe.

    A thread of its own traces Redis, which is slower by far meanwhile: about a thousand commands a second. Do not ask
    whether Redis's process has ended while it is traced; `cut_power` and `detach` end that.

    Raises:
        CannotTrace: this machine does not let us.
    """

    def __init__(self, server: RedisServer) -> None:
        pid = server.pid
        if pid is None:
            raise RuntimeError("Redis does not run")
        self._server = server
        self._pid = pid
        self._folder = Path(f"/proc/{pid}/cwd").resolve() / "appendonlydir"
        self._safe = {path: path.stat().st_size for path in self._logs()}
        self._syncing: dict[int, tuple[Path, int]] = {}
        self._held: dict[int, float] = {}
        self._delay_seconds = 0.0
        self._ended = False
        #: How many fsyncs have succeeded.
        self.syncs = 0
        started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._tracer = threading.Thread(target=self._run, args=(started,), name="disk", daemon=True)
        self._tracer.start()
        if (error := started.get(timeout=_CALL_SECONDS)) is not None:
            raise CannotTrace(f"this machine does not let Redis be traced ({error})")

    def slow_down(self, seconds: float = _FOREVER) -> None:
        """Have each fsync take ``seconds`` longer from now on; without an argument, hold it until `recover`."""
        self._delay_seconds = seconds

    def recover(self) -> None:
        """Be as quick as the machine's disk again, for the fsyncs that are held, too."""
        self._delay_seconds = 0.0

    def fill_up(self, room_bytes: int) -> None:
        """Leave room for about so many bytes in the append-only log; then writes fail, as on a full disk.

        The limit is the process's, and dies with it.
        """
        newest = max(path.stat().st_size for path in self._logs())
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (newest + room_bytes, resource.RLIM_INFINITY))

    @property
    def is_stuck(self) -> bool:
        """Whether an fsync is held just now."""
        return bool(self._held)

    def cut_power(self) -> int:
        """Kill Redis and take what was not synced; return how many bytes that was. It can be started again."""
        self._server.kill()
        self.detach()
        lost = 0
        for path in self._logs():
            safe = self._safe.get(path, 0)
            lost += path.stat().st_size - safe
            os.truncate(path, safe)
        return lost

    def detach(self) -> None:
        """Trace no more; fsyncs that are held go on. A second call does nothing."""
        self._ended = True
        self._tracer.join(_CALL_SECONDS)

    def _logs(self) -> list[Path]:
        """Return the files that Redis appends to. The manifest, which names them, is replaced and not appended to."""
        return [path for path in self._folder.iterdir() if ".manifest" not in path.name]

    def _run(self, started: queue.SimpleQueue[Exception | None]) -> None:
        """Trace until detached or Redis is gone. When this thread ends, the kernel lets go of all that it traces."""
        try:
            ptrace = Ptrace()
            threads = [int(path.name) for path in Path(f"/proc/{self._pid}/task").iterdir()]
            for thread in threads:
                ptrace(SEIZE, thread, 0, TRACE_SYSTEM_CALLS | TRACE_NEW_THREADS)
                ptrace(INTERRUPT, thread)
        except (CannotTrace, OSError) as error:
            started.put(error)
            return
        started.put(None)
        while not self._ended:
            self._release_held(ptrace)
            try:
                # Redis wakes ten times a second by itself, so this never waits for long unless an fsync is held.
                thread, status = os.waitpid(-1, TRACED | (os.WNOHANG if self._held else 0))
            except ChildProcessError:
                return  # Redis is gone
            if thread == 0:
                time.sleep(_GLANCE_SECONDS)
            elif os.WIFSTOPPED(status):
                with suppress(ProcessLookupError):  # killed since
                    self._go_on(ptrace, thread, status)

    def _go_on(self, ptrace: Ptrace, thread: int, status: int) -> None:
        """Take note of why a thread stopped, and let it go on, unless it is to wait."""
        number, event = os.WSTOPSIG(status), status >> 16
        if number == signal.SIGTRAP | 0x80:
            if self._note_system_call(ptrace, thread) and self._delay_seconds:
                self._held[thread] = time.monotonic()
                return
            number = 0
        elif event == EVENT_STOP and number in _STOPPING:
            ptrace(LISTEN, thread)
            return
        elif event or number in (signal.SIGTRAP, signal.SIGXFSZ):
            number = 0  # SIGXFSZ would end it before it sees that the write has failed; no full disk sends that
        ptrace(SYSCALL, thread, 0, number)

    def _note_system_call(self, ptrace: Ptrace, thread: int) -> bool:
        """Note what is synced and what has been; tell whether an fsync begins."""
        call = ptrace.system_call(thread)
        if isinstance(call, Entry):
            if call.number not in SYNCS[platform.machine()]:
                return False
            opened = Path(f"/proc/{self._pid}/fd/{call.arguments[0]}")
            with suppress(OSError):
                self._syncing[thread] = (opened.resolve(), opened.stat().st_size)
            return True
        synced = self._syncing.pop(thread, None)
        if synced is not None and call.result == 0:
            path, size = synced
            self._safe[path] = max(size, self._safe.get(path, 0))
            self.syncs += 1
        return False

    def _release_held(self, ptrace: Ptrace) -> None:
        now = time.monotonic()
        for thread in [thread for thread, since in self._held.items() if now - since >= self._delay_seconds]:
            del self._held[thread]
            with suppress(ProcessLookupError):
                ptrace(SYSCALL, thread)
