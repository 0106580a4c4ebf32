"""The drain process: ``python -m tasks.drainer [PARENT_PID [NUMBER]]``. Each Celery worker keeps some of them alive.

It reads and parses the next batch while PostgreSQL works on the present one and Redis is told of the last: each of them
alone would leave the others, and a core, idle.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from types import FrameType

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from db.migrate import DatabaseNotMigrated
from db.models import Key
from tasks.batch_log import batch_log
from tasks.checks import check_servers
from tasks.context import Context, make_context
from tasks.drain import Batch, batches_of, drain_abandoned, note_batch, parsed, record_batch
from tasks.pace import SLOW_SECONDS
from tasks.patience import said_of
from tasks.reasons import Reason
from worker.errors import AttributionError
from worker.settings import WorkerSettings
from worker.stream_consumer import Entry
from worker.streams import MESSAGES
from worker.telemetry import metrics, places
from worker.telemetry.error_tracking import start_error_tracking
from worker.telemetry.logs import Throttle, configure_logs
from worker.telemetry.tracing import start_tracing

_log = logging.getLogger("tasks.drainer")  # run as a program, its own name is another

#: Longest wait for new entries in one read: how soon the process notices that it is to stop.
BLOCK = timedelta(seconds=1)
#: Entries in the first read. The next may have four times as many, and so on: whether they can be read at all is known
#: only when some have been.
FIRST_READ = 100
#: Pause after Redis or PostgreSQL failed.
PAUSE_SECONDS = 1.0
#: Between two lines about a Redis that is still away.
LOG_SECONDS = 60.0


class Drainer:
    """One thread reads, a batch ahead; the main thread records; one acknowledges, a batch behind; one holds on to it.

    A batch goes from one to the next, so each is acknowledged only after its own commit and re-check.
    """

    def __init__(self, ctx: Context, parent: int | None = None) -> None:
        self._ctx = ctx
        self._parent = parent
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._ready: queue.Queue[Batch] = queue.Queue(maxsize=1)
        self._acknowledger = ThreadPoolExecutor(max_workers=1, thread_name_prefix="acknowledger")
        self._acknowledging: Future[None] | None = None
        self._claim_at = 0.0
        self._events_at = 0.0

    def stop(self) -> None:
        """Stop after the batches that have been read."""
        self._stopping.set()

    def run(self) -> None:
        """Drain until `stop` is called, or the process ``parent``, which started this one, is gone."""
        self._ctx.pace.look(self._ctx.engine)  # before anything is read: an alarm may be on
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        reader.start()
        threading.Thread(target=self._keep_held, name="keeper", daemon=True).start()
        while reader.is_alive() or not self._ready.empty():
            if self._parent is not None and os.getppid() != self._parent and not self._stopping.is_set():
                _log.warning("the worker that started this drain process is gone; stopping")
                self.stop()
            try:
                batch = self._ready.get(timeout=0.2)
            except queue.Empty:
                pass
            else:
                self._work(batch)
            self._claim_when_due()
            batch_log.tell_rest()
            self._ctx.pace.look(
                self._ctx.engine
            )  # with nothing to do, too: others may have raised an alarm, or ended it
        self._acknowledger.shutdown()
        batch_log.tell_rest(now=True)
        self._over.set()

    def _keep_held(self) -> None:
        """Keep the batch at hand ours, however long it takes: a process that is gone keeps nothing."""
        while not self._over.wait(self._ctx.settings.claim_after.total_seconds() / 4):
            try:
                self._ctx.consumer.keep_held()
            except RedisError as error:
                _log.warning("Redis did not hear that a batch is still being worked (%s)", type(error).__name__)

    def _read(self) -> None:
        settings = self._ctx.settings
        count = FIRST_READ
        unanswered = Throttle(LOG_SECONDS)
        while not self._stopping.is_set():
            try:
                entries = self._take(count)
            except RedisError as error:
                if times := unanswered.count():
                    _log.warning(
                        "Redis did not answer the drain, %d time(s); trying again each second: %s",
                        times, said_of(error),
                    )  # fmt: skip
                self._stopping.wait(PAUSE_SECONDS)
                continue
            count = min(settings.drain_batch_entries, 4 * count) if entries else count
            for batch in batches_of(entries, max_bytes=settings.drain_batch_bytes):
                self._ready.put(parsed(self._ctx, batch))

    def _take(self, count: int) -> list[Entry]:
        """Read up to ``count`` entries of each stream or, while an alarm slows us, a few events at a time.

        The pause comes before events are read, so that none is in hand while we wait. Trackings are never slowed.
        """
        pace, consumer = self._ctx.pace, self._ctx.consumer
        max_bytes = self._ctx.settings.drain_batch_bytes
        if not pace.slowed:
            return consumer.read(count=count, max_bytes=max_bytes, block=BLOCK)
        pause = self._events_at - time.monotonic()
        if pause > 0:
            return consumer.read(count=count, block=min(BLOCK, timedelta(seconds=pause)), streams=(MESSAGES,))
        self._events_at = time.monotonic() + SLOW_SECONDS
        most, bytes_of_them = pace.limit(count, max_bytes)
        return consumer.read(count=most, max_bytes=bytes_of_them, block=BLOCK)

    def _work(self, batch: Batch) -> None:
        try:
            drained = record_batch(self._ctx.consumer, self._ctx.engine, self._ctx.pipelines[batch.stream], batch)
        except (SQLAlchemyError, RedisError) as error:
            self._wait_after(error)
            return
        if self._acknowledging is not None:
            self._acknowledging.result()  # at most one batch behind
        self._acknowledging = self._acknowledger.submit(self._acknowledge, batch.entries)
        note_batch(self._ctx, batch, drained)

    def _acknowledge(self, entries: Sequence[Entry]) -> None:
        try:
            self._ctx.consumer.acknowledge(entries)
        except RedisError as error:
            _log.warning("a recorded batch was not acknowledged and will come again (%s)", type(error).__name__)

    def _claim_when_due(self) -> None:
        """Look for abandoned entries a few times per idle time."""
        if time.monotonic() < self._claim_at or self._stopping.is_set():
            return
        self._claim_at = time.monotonic() + self._ctx.settings.claim_after.total_seconds() / 4
        try:
            drain_abandoned(self._ctx, self._stopping.is_set)
        except (SQLAlchemyError, RedisError) as error:
            self._wait_after(error)

    def _wait_after(self, error: Exception) -> None:
        _log.error("a batch was not finished and will be delivered again: %s", said_of(error))
        self._claim_at = 0.0
        self._stopping.wait(PAUSE_SECONDS)


def main() -> None:
    """Run one drain process until SIGTERM or SIGINT, or until the process named on the command line is gone."""
    parent = int(sys.argv[1]) if len(sys.argv) > 1 else None
    places.take_place(f"drain-{sys.argv[2] if len(sys.argv) > 2 else os.getpid()}")
    metrics.begin_drain(Key, Reason)
    settings = WorkerSettings.read()
    configure_logs(settings.log_format, settings.log_level)
    try:
        start_error_tracking(settings, "drain")
        start_tracing("drain")
        check_servers(settings)
    except (AttributionError, DatabaseNotMigrated, RedisError, SQLAlchemyError) as error:
        raise SystemExit(f"The drain does not start. {error}") from None
    # A batch is tens of thousands of small tuples that live for one batch, none of them in a cycle. Python's default is
    # to look for cycles every few hundred of them, which took a third of the time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    # Back from each wait for PostgreSQL, the recording thread would wait up to 5 ms for the one that parses.
    sys.setswitchinterval(0.0005)
    drainer = Drainer(make_context(settings), parent)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        drainer.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    _log.info("draining")
    drainer.run()


if __name__ == "__main__":
    main()
