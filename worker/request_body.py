"""Reading a request's body without trusting its sender: bounded in bytes, in time, and in what it may unfold to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from starlette.types import Receive

from worker.answers import ENCODED, TOO_LARGE, TOO_SLOW, Refused


class CallerGone(Exception):
    """The caller hung up before its body was complete."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], *, limit_bytes: int, timeout_seconds: float
) -> bytes:
    """Return the body, untouched.

    The limit counts bytes as they arrive: ``Content-Length`` may be absent, or a lie. The time is for the whole body,
    so that a byte now and then gains nothing.

    Raises:
        Refused: the body is compressed (415), larger than ``limit_bytes`` (413) or too slow (408).
        CallerGone: nobody waits for an answer.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(ENCODED)  # a few bytes could unfold to gigabytes
    if int(headers.get(b"content-length", 0)) > limit_bytes:
        raise Refused(TOO_LARGE)
    task = cast(asyncio.Task[Any], asyncio.current_task())
    timer = _Timer(task, timeout_seconds)
    try:
        return await _read(receive, limit_bytes)
    except asyncio.CancelledError:
        if timer.has_expired and task.uncancel() == 0:
            raise Refused(TOO_SLOW) from None
        raise  # somebody else cancelled us
    finally:
        timer.cancel()


class _Timer:
    """What `asyncio.timeout` does, at a quarter of its cost, which is a tenth of a request's."""

    def __init__(self, task: asyncio.Task[Any], seconds: float) -> None:
        self._task = task
        self.has_expired = False
        self.cancel = task.get_loop().call_later(seconds, self._expire).cancel

    def _expire(self) -> None:
        self.has_expired = True
        self._task.cancel()


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        part: bytes = message["body"]
        size += len(part)
        if size > limit_bytes:
            raise Refused(TOO_LARGE)
        if not message["more_body"]:
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
