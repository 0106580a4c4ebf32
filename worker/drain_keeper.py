"""Keeps drain processes alive beside each Celery worker: a bootstep, so that draining needs no Celery message.

Draining must go on when beat is dead, and when Redis is full: a full Redis refuses every Celery message, and were the
drain started by one, the stream could never be emptied to make room. docs/adr/0006-drain-processes.md weighs the
alternatives.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any, Final

from celery import bootsteps
from celery.worker import state
from redis.exceptions import OutOfMemoryError, RedisError

from worker.settings import WorkerSettings
from worker.stream_consumer import connect
from worker.streams import PROBE
from worker.telemetry.logs import Throttle

_log = logging.getLogger(__name__)

#: What each drain process runs, followed by the pid of the worker, with which it is to end, and by its own number.
COMMAND: Final = (sys.executable, "-m", "tasks.drainer")
#: Seconds before a drain process that ended is started again: it may have ended because PostgreSQL is away.
RESTART_SECONDS = 1.0
#: Seconds a drain process has to finish what it has read when the worker stops.
STOP_SECONDS = 30.0
#: Seconds between two looks at whether a full Redis has room again.
ROOM_SECONDS = 1.0
#: Bytes of room that Celery needs before it starts. At the very limit Redis has room in one moment, and in the next,
#: while a drain is sent what it reads, it has none.
ROOM_BYTES: Final = 2 * 1024**2
#: Seconds between two lines about a Redis that is still full.
LOG_SECONDS = 60.0


class DrainKeeper(bootsteps.StartStopStep):
    """Starts the drain processes with the worker, starts each again if it ends, and stops them with the worker."""

    #: The metrics are served before we wait for Redis, which may take long, and until the last batch is recorded.
    requires = ("celery.worker.components:Pool", "worker.telemetry.metrics_server:MetricsServer")

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopping = threading.Event()
        self._keepers: list[threading.Thread] = []

    def start(self, parent: Any) -> None:
        """Start as many as `WorkerSettings.drain_processes` says."""
        for number in range(WorkerSettings.read().drain_processes):
            keeper = threading.Thread(target=self._keep, args=(number,), name=f"drain-keeper-{number}", daemon=True)
            keeper.start()
            self._keepers.append(keeper)
        self._wait_for_room()

    def stop(self, parent: Any) -> None:
        """Stop them, leaving each the time to finish its batch."""
        self._stopping.set()
        for keeper in self._keepers:
            keeper.join(STOP_SECONDS + 5)

    close = terminate = stop

    def _wait_for_room(self) -> None:
        """Wait while Redis is full, before Celery's own connection starts.

        Celery ends at once on a Redis that refuses writes. Started again and again by its supervisor, it would end
        before the drain processes, which alone can make room, had got anything done.
        """
        settings = WorkerSettings.read()
        broker = connect((settings.broker_url or settings.redis_url).get_secret_value())
        full = Throttle(LOG_SECONDS)
        while not _is_told_to_stop():
            try:
                broker.set(PROBE, bytes(ROOM_BYTES), px=1000)
            except OutOfMemoryError:
                if full.count():
                    _log.warning("Redis is full; Celery waits until the drain has made room")
                self._stopping.wait(ROOM_SECONDS)
            except RedisError:
                return  # Celery has its own patience with a Redis that is away
            else:
                return

    def _keep(self, number: int) -> None:
        while not self._stopping.is_set():
            try:
                process = subprocess.Popen([*COMMAND, str(os.getpid()), str(number)], stdin=subprocess.DEVNULL)
            except OSError as error:  # no memory, or no process, left for it just now
                _log.error("drain process %d cannot be started (%s); trying again", number, error)
                self._stopping.wait(RESTART_SECONDS)
                continue
            _log.info("drain process %d runs as pid %d", number, process.pid)
            while process.poll() is None and not self._stopping.wait(0.2):
                pass
            if self._stopping.is_set():
                _end(process)
            else:
                _log.error(
                    "drain process %d (pid %d) ended with code %d; starting another. What it had read is claimed later",
                    number, process.pid, process.returncode,
                )  # fmt: skip
            self._stopping.wait(RESTART_SECONDS)


def _is_told_to_stop() -> bool:
    """Celery's handlers of SIGTERM and SIGQUIT leave word here; None and False both mean no."""
    words: tuple[object, object] = (state.should_stop, state.should_terminate)
    return any(word is not None and word is not False for word in words)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is None:
        _log.error("drain process %d did not stop in %.0f s; killing it", process.pid, STOP_SECONDS)
        process.kill()
        process.wait()
