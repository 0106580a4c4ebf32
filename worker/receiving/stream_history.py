"""Whether a stream still knows all that was read of it: if not, entries that were acknowledged may be gone.

Redis counts for each group what it has handed out. The count survives restarts and deletions, and only grows, unless
somebody empties Redis, an older copy of its data is restored, or a replica takes over that had not received everything.
"""

from __future__ import annotations

import logging
from typing import Any

import hiredis

from worker.streams import GROUP
from worker.telemetry import metrics

_log = logging.getLogger(__name__)


class StreamHistory:
    """Remembers how many entries of each stream were read, and alarms when Redis knows of fewer than before."""

    def __init__(self) -> None:
        self._read: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def note(self, stream: str, groups: object, waiting: int) -> None:
        """Compare with the last time: ``groups`` is Redis's answer to XINFO GROUPS, ``waiting`` that to XLEN.

        What is read between two looks may make up for as much that was lost: a replica that lagged by less than a
        second is not noticed under load. Nor is a Redis before version 7, which does not count.
        """
        read = _read(groups)
        if read is None:
            return
        before = self._read.get(stream, 0)
        if read < before:
            metrics.STREAM_LOSSES.labels(stream).inc()
            _log.error(
                "%s has lost its past: %d entries of it had been read, and Redis knows of %d. It was emptied, restored "
                "from older data, or replaced by a replica that lagged. When last seen, %d entries waited to be "
                "drained: what of those is gone was answered 200 and is lost",
                stream, before, read, self._waiting.get(stream, 0),
            )  # fmt: skip
        self._read[stream] = read
        self._waiting[stream] = waiting


def _read(groups: object) -> int | None:
    """Return how many entries were ever handed out; None where Redis does not know, as of a group made anew."""
    if isinstance(groups, hiredis.ReplyError):
        return 0 if "no such key" in str(groups) else None
    for group in groups if isinstance(groups, list) else ():
        fields: dict[bytes, Any] = dict(zip(group[::2], group[1::2], strict=False))
        if fields.get(b"name") == GROUP.encode():
            read = fields.get(b"entries-read")
            return read if isinstance(read, int) else None
    return None
