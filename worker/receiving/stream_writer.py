"""The receiver's side of the Redis streams: append, and know that it is kept."""

from __future__ import annotations

from typing import Final

import hiredis

from worker.errors import StreamUnavailable
from worker.receiving.redis_link import RedisLink
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics

#: Redis's words for why it does not write, and ours.
_REASONS: Final = {
    "OOM": "full",
    "MISCONF": "read_only",
    "READONLY": "read_only",
    "NOREPLICAS": "read_only",
    "LOADING": "loading",
}


class StreamWriter:
    """Appends to the streams over a `RedisLink`, which sends what requests append at the same time in one write."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._appended = {stream: metrics.APPENDED.labels(stream) for stream in (EVENTS, MESSAGES)}

    async def append(
        self,
        stream: str,
        body: bytes,
        request_id: bytes,
        subscription: bytes | None = None,
        traceparent: bytes | None = None,
    ) -> str:
        """Append one request's body, untouched, under the id of the request, and return the entry's id.

        The receiver answers 200 only after this returns: from then on the events are ours, and Event Grid will not send
        them again. ``subscription`` is what Event Grid calls the subscription that the request came through,
        ``traceparent`` the span of the request, if it is traced.

        Raises:
            StreamUnavailable: Redis refused, or did not answer in time. The entry may be there all the same; then the
                repetition is a duplicate, which the drain notices.
        """
        more = () if subscription is None else (b"subscription", subscription)
        if traceparent is not None:
            more = (*more, b"traceparent", traceparent)
        try:
            answer = await self._link.call(b"XADD", stream.encode(), b"*", b"body", body, b"request", request_id, *more)
        except StreamUnavailable:
            metrics.APPEND_FAILURES.labels("unreachable").inc()
            raise
        if isinstance(answer, hiredis.ReplyError):
            metrics.APPEND_FAILURES.labels(_REASONS.get(str(answer).split(" ", 1)[0], "refused")).inc()
            raise StreamUnavailable(f"Redis refused the entry: {answer}")
        self._appended[stream].inc()
        return str(answer, "ascii")
