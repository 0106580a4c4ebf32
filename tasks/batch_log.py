"""What the log tells of recorded batches: a line for each, or for all small ones of a second. docs/logs.md reads them.

When events come one by one each is a batch, and a line for each would be hundreds a second that nobody reads. A batch
of many entries always has its own line. Of small ones the first has, too; those that follow it within a second are
added up, and told in one line when that second is over. At DEBUG each has its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tasks.batch import Drained
from worker.stream_consumer import Entry
from worker.streams import EVENTS

_log = logging.getLogger(__name__)

#: Entries of a batch that has a line of its own whatever came before: some ten milliseconds' worth.
MANY: Final = 500
#: Seconds for which small batches are added up.
SPAN_SECONDS: Final = 1.0
#: Most ids of requests in a line; the ids of its first and last entry say of any other where it belongs.
MOST_REQUESTS: Final = 5


@dataclass(slots=True)
class _Told:
    """What is to be told of one stream."""

    batches: int = 0
    entries: int = 0
    size: int = 0
    seconds: float = 0.0
    drained: Drained = field(default_factory=Drained)
    first: Entry | None = None
    last: Entry | None = None
    requests: list[str] = field(default_factory=list)

    def add(self, entries: Sequence[Entry], drained: Drained, seconds: float) -> None:
        self.batches += 1
        self.entries += len(entries)
        self.size += sum(len(entry.body) for entry in entries)
        self.seconds += seconds
        self.drained += drained
        self.first = self.first or entries[0]
        self.last = entries[-1]
        named = (request for entry in entries[:MOST_REQUESTS] if (request := entry.request) is not None)
        self.requests = [*self.requests, *named][:MOST_REQUESTS]

    def fields(self, stream: str) -> dict[str, Any]:
        """Return what the line holds beside its sentence: counts, durations, and which entries it is about."""
        assert self.first is not None and self.last is not None  # noqa: S101, PT018 - it is told only if there were any
        drained = self.drained
        quarantined = sum(drained.quarantined.values())
        if stream == EVENTS:
            attributed = sum(drained.attributed.values())
            counts = {
                "events": attributed + drained.parked + drained.duplicates + drained.ignored + quarantined,
                "attributed": attributed,
                "parked": drained.parked,
                "duplicates": drained.duplicates,
            }
            more = {"ignored": drained.ignored, "contradictions": drained.contradictions, "taught": drained.taught}
        else:
            counts = {"tracked": drained.tracked, "known": drained.known, "refused": drained.refused}
            more = {"completed": drained.completed}
        waited_for = datetime.now(UTC) - self.first.received_at
        return {
            "stream": stream,
            **({"batches": self.batches} if self.batches > 1 else {}),
            "entries": self.entries,
            "bytes": self.size,
            **counts,
            "released": drained.released,
            "quarantined": quarantined,
            **{name: count for name, count in more.items() if count},
            "seconds": round(self.seconds, 4),
            "oldest_seconds": round(waited_for.total_seconds(), 3),
            "first_entry": self.first.entry_id,
            "last_entry": self.last.entry_id,
            "requests": self.requests,
        }


class BatchLog:
    """Tells of the batches of one process. For the thread that records."""

    def __init__(self) -> None:
        self._held: dict[str, _Told] = {}
        self._next_at: dict[str, float] = {}

    def tell(self, stream: str, entries: Sequence[Entry], drained: Drained, seconds: float) -> None:
        """Tell of a batch that was recorded in ``seconds``, now or with those that follow it."""
        now = time.monotonic()
        held = self._held.setdefault(stream, _Told())
        small = len(entries) < MANY and not _log.isEnabledFor(logging.DEBUG)
        if not small and held.batches:
            self._say(stream, self._held.pop(stream))
            held = self._held.setdefault(stream, _Told())
        held.add(entries, drained, seconds)
        if not small or now >= self._next_at.get(stream, 0.0):
            self._say(stream, self._held.pop(stream))
            self._next_at[stream] = now + SPAN_SECONDS

    def tell_rest(self, *, now: bool = False) -> None:
        """Tell of what was held back, once its second is over; or at once, when nothing follows for sure."""
        for stream in [each for each in self._held if now or time.monotonic() >= self._next_at.get(each, 0.0)]:
            self._say(stream, self._held.pop(stream))
            self._next_at[stream] = time.monotonic() + SPAN_SECONDS

    def _say(self, stream: str, told: _Told) -> None:
        sentence = "recorded a batch" if told.batches == 1 else f"recorded {told.batches} small batches"
        _log.info(sentence, extra=told.fields(stream))


#: That of this process.
batch_log: Final = BatchLog()
