"""Requests at a given rate: each leaves when it is due, not when another is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from typing import cast

import uvloop


class _Line(asyncio.Protocol):
    """A connection with at most one request on its way; once that is answered, it is among the free ones again."""

    def __init__(self, free: list[_Line], answered_at: list[float]) -> None:
        self._free = free
        self._answered_at = answered_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def send(self, number: int, request: bytes) -> None:
        """Send request ``number``."""
        self._number = number
        self._received = b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Note when the answer began to arrive, if it is a 200; it is complete when its head is, as it has no body."""
        if not self._received and data.startswith(b"HTTP/1.1 200"):
            self._answered_at[self._number] = time.time()
        self._received += data
        if self._received.endswith(b"\r\n\r\n"):
            self._free.append(self)


def push_paced(host: str, port: int, requests: Sequence[bytes], *, per_second: float, seed: int) -> list[float]:
    """Send ``requests`` at ``per_second`` on average, and return when each was answered 200, in seconds since 1970.

    They arrive as those of many independent callers do, now and then several at once (a Poisson process), and use as
    many connections as it takes. One that was not answered 200 within a few seconds has 0.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_push(host, port, requests, due_times(per_second, seed=seed)))


def due_times(per_second: float, *, seed: int) -> Iterator[float]:
    """Yield instants, in seconds from the beginning: ``per_second`` on average, independent of each other."""
    chance = random.Random(seed)
    due = 0.0
    while True:
        due += chance.expovariate(per_second)
        yield due


async def _push(host: str, port: int, requests: Sequence[bytes], due_at: Iterator[float]) -> list[float]:
    loop = asyncio.get_running_loop()
    answered_at = [0.0] * len(requests)
    free: list[_Line] = []
    lines: list[_Line] = []
    started = loop.time()
    for number, request in enumerate(requests):
        await asyncio.sleep(started + next(due_at) - loop.time())
        if not free:
            _, line = await loop.create_connection(lambda: _Line(free, answered_at), host, port)
            lines.append(line)
            free.append(line)
        free.pop().send(number, request)
    deadline = loop.time() + 5
    while len(free) < len(lines) and loop.time() < deadline:
        await asyncio.sleep(0.01)
    for line in lines:
        line.transport.close()
    return answered_at
