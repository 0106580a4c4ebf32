"""What the receiver knows of Redis between requests: how much waits there, how full it is, whether it takes writes."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Self

from worker.errors import StreamUnavailable
from worker.receiving.redis_link import RedisLink
from worker.receiving.redis_look import look_at
from worker.receiving.stream_history import StreamHistory
from worker.telemetry import metrics

_log = logging.getLogger(__name__)


class BacklogWatch:
    """Measures Redis every ``interval``, never at a request's expense, and says whether there is room for more.

    Use it as a context manager, inside that of ``link``; entering takes the first measure.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        backlog_limit: int,
        memory_limit_percent: int,
        interval: timedelta = timedelta(seconds=1),
    ) -> None:
        self._link = link
        self._backlog_limit = backlog_limit
        self._memory_limit_percent = memory_limit_percent
        self._interval_seconds = interval.total_seconds()
        self._full: dict[str, str] = {}
        self._history = StreamHistory()
        # A Redis that cannot be asked is not one that fails.
        metrics.REDIS_PERSISTS.set(_told(None))
        metrics.REDIS_KEEPS.set(_told(None))
        self.is_writable = False  # whether the last trial write went through

    def require_room(self, stream: str) -> None:
        """Let the caller append to ``stream``, or not.

        Raises:
            StreamUnavailable: too much waits on the stream, or Redis is too full, for the last second's measure.
        """
        if not self._full:
            return
        for reason in (stream, "memory"):
            if sentence := self._full.get(reason):
                metrics.SHED.labels("memory" if reason == "memory" else "backlog").inc()
                raise StreamUnavailable(sentence)

    async def __aenter__(self) -> Self:
        await self._measure()
        self._task = asyncio.create_task(self._keep_measuring())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self._measure()
            except Exception:  # a bug must not end the loop: what it last saw would hold for ever
                _log.exception("Redis could not be measured")

    async def _measure(self) -> None:
        started = perf_counter()
        try:
            seen = await look_at(self._link)
        except StreamUnavailable as error:
            self._note_writable(str(error))
            return
        metrics.REDIS_SECONDS.observe(perf_counter() - started)
        self._note_writable(seen.refusal)
        full: dict[str, str] = {}
        for stream, each in seen.streams.items():
            self._history.note(stream, each.groups, each.entries)
            metrics.BACKLOG_ENTRIES.labels(stream).set(each.entries)
            metrics.BACKLOG_AGE.labels(stream).set(each.age)
            if each.entries > self._backlog_limit:
                full[stream] = f"{each.entries} entries wait on {stream}, and {self._backlog_limit} is the limit"
        metrics.REDIS_PERSISTS.set(_told(seen.persists))
        metrics.REDIS_KEEPS.set(_told(seen.keeps))
        if seen.memory_ratio is not None:
            metrics.REDIS_MEMORY_RATIO.set(seen.memory_ratio)
            if seen.memory_ratio * 100 > self._memory_limit_percent:
                full["memory"] = (
                    f"Redis uses {seen.memory_ratio:.0%} of its maxmemory, and {self._memory_limit_percent}% is the"
                    " limit"
                )
        self._note_full(full)

    def _note_writable(self, refusal: str | None) -> None:
        if self.is_writable and refusal is not None:
            _log.error("Redis takes no writes: %s", refusal)
        elif not self.is_writable and refusal is None:
            _log.info("Redis takes writes")
        self.is_writable = refusal is None
        metrics.REDIS_WRITABLE.set(self.is_writable)

    def _note_full(self, full: Mapping[str, str]) -> None:
        for reason in full.keys() - self._full.keys():
            _log.error("requests are answered 503: %s", full[reason])
        for _ in self._full.keys() - full.keys():
            _log.info("requests are taken again: there is room")
        self._full = dict(full)


def _told(answer: bool | None) -> float:
    return math.nan if answer is None else float(answer)
