"""What the receiver knows of Redis between requests: how much waits there, how full it is, whether it takes writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Any, Self

import hiredis

from worker import metrics
from worker.errors import StreamUnavailable
from worker.redis_link import RedisLink
from worker.stream_history import StreamHistory
from worker.streams import EVENTS, MESSAGES, PROBE

_log = logging.getLogger(__name__)

#: What is asked, in one write. XINFO GROUPS fails on a stream that is not there; no other may fail, least of all the
#: trial write, which a full Redis refuses, and a replica, and one whose disk is full.
_QUESTIONS = (
    (b"XINFO", b"GROUPS", EVENTS.encode()),
    (b"XINFO", b"GROUPS", MESSAGES.encode()),
    (b"XLEN", EVENTS.encode()),
    (b"XLEN", MESSAGES.encode()),
    (b"INFO", b"memory"),
    (b"SET", PROBE.encode(), b"1", b"EX", b"60"),
)


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
            answers = await asyncio.gather(*[self._link.call(*question) for question in _QUESTIONS])
        except StreamUnavailable as error:
            self._note_writable(str(error))
            return
        metrics.REDIS_SECONDS.observe(perf_counter() - started)
        groups_of_events, groups_of_messages, events, messages, memory, _ = answers
        refusal = next((str(answer) for answer in answers[2:] if isinstance(answer, hiredis.ReplyError)), None)
        self._note_writable(refusal)
        full: dict[str, str] = {}
        for stream, entries, groups in ((EVENTS, events, groups_of_events), (MESSAGES, messages, groups_of_messages)):
            if isinstance(entries, int):
                self._history.note(stream, groups, entries)
                metrics.BACKLOG_ENTRIES.labels(stream).set(entries)
                if entries > self._backlog_limit:
                    full[stream] = f"{entries} entries wait on {stream}, and {self._backlog_limit} is the limit"
        if isinstance(memory, bytes):
            ratio = _memory_ratio(memory)
            metrics.REDIS_MEMORY_RATIO.set(ratio)
            if ratio * 100 > self._memory_limit_percent:
                full["memory"] = (
                    f"Redis uses {ratio:.0%} of its maxmemory, and {self._memory_limit_percent}% is the limit"
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


def _memory_ratio(info: bytes) -> float:
    """Return the share of maxmemory in use, as Redis reckons it when it decides what to refuse; 0 without a limit."""
    fields: dict[bytes, Any] = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    limit = int(fields.get(b"maxmemory", 0))
    used = int(fields[b"used_memory"]) - int(fields.get(b"mem_not_counted_for_evict", 0))
    return used / limit if limit else 0.0
