"""Reading a request's body without trusting its sender: bounded in bytes, in time, and in what it may unfold to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from starlette.types import Receive

from worker.receiving.answers import ENCODED, TOO_LARGE, TOO_SLOW, Refused


class CallerGone(Exception):
    """The caller hung up before its body was complete."""


class BodyReader:
    """Reads bodies of up to ``limit_bytes`` that arrive within ``timeout``.

    One timer watches over all bodies that are being read; a timer for each would cost a third of the throughput.
    """

    def __init__(self, *, limit_bytes: int, timeout: timedelta) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_seconds = timeout.total_seconds()
        #: When each task began to read. All have the same time, so the first is the first to be late.
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the body, untouched.

        The limit counts bytes as they arrive: ``Content-Length`` may be absent, or a lie. The time is for the whole
        body, so that a byte now and then gains nothing.

        Raises:
            Refused: the body is compressed (415), too large (413) or too slow (408).
            CallerGone: nobody waits for an answer.
        """
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(ENCODED)  # a few bytes could unfold to gigabytes
        if int(headers.get(b"content-length", 0)) > self._limit_bytes:
            raise Refused(TOO_LARGE)
        task = cast(asyncio.Task[Any], asyncio.current_task())
        loop = task.get_loop()
        self._reading[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._end_the_late, loop)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise CallerGone
                part: bytes = message["body"]
                size += len(part)
                if size > self._limit_bytes:
                    raise Refused(TOO_LARGE)
                if not message["more_body"]:
                    return b"".join([*parts, part]) if parts else part
                parts.append(part)
        except asyncio.CancelledError:
            if task not in self._reading and task.uncancel() == 0:
                raise Refused(TOO_SLOW) from None
            raise  # it was somebody else who cancelled us
        finally:
            self._reading.pop(task, None)

    def _end_the_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, began_at in list(self._reading.items()):
            remaining_seconds = began_at + self._timeout_seconds - loop.time()
            if remaining_seconds > 0:
                self._timer = loop.call_later(remaining_seconds, self._end_the_late, loop)
                return
            del self._reading[task]
            task.cancel()
