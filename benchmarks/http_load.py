"""A load generator for HTTP/1.1, light enough to share two cores with the server it loads.

Each connection keeps one request in flight: it sends bytes that were built beforehand, looks for the end of the answer,
and sends again. Nothing is parsed but the status and ``Content-Length``.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop


@dataclass(frozen=True)
class Load:
    """What a run of `apply_load` saw. Latencies are those of whole requests, in seconds, sorted."""

    seconds: float
    statuses: Counter[int]
    latencies: list[float] = field(repr=False)

    @property
    def requests_per_second(self) -> float:
        """Answers of any status, by the second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the latency, in seconds, that ``percent`` of the requests did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


def build_request(path: str, body: bytes, headers: Iterable[tuple[str, str]] = (), *, method: str = "POST") -> bytes:
    """Return the bytes of one request. ``Host`` and ``Content-Length`` are put in."""
    head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class _Caller(asyncio.Protocol):
    """One connection: sends the next request as soon as the last one is answered, until it is told to stop."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[int], latencies: list[float]) -> None:
        self._requests = requests
        self._statuses = statuses
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0
        self._stopping = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._send()

    def _send(self) -> None:
        request = None if self._stopping else next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            self._received = received
            return
        if len(received) < end_of_head + 4 + _content_length(received[:end_of_head]):
            self._received = received
            return
        self._received = b""
        self._latencies.append(perf_counter() - self._sent_at)
        self._statuses[int(received[9:12])] += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def stop(self) -> None:
        """End after the answer that is awaited now."""
        self._stopping = True


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    if not found:
        raise ValueError("the answer has no Content-Length")
    return int(rest.split(b"\r\n", 1)[0])


async def apply_load(
    host: str, port: int, requests: Iterable[bytes], *, connections: int = 64, seconds: float = 3.0
) -> Load:
    """Send ``requests`` over ``connections`` connections for ``seconds``, or until there are no more of them.

    The connections share one iterator, so each request is sent once. A connection that the server closes is not opened
    again: compare the statuses with what you sent.
    """
    loop = asyncio.get_running_loop()
    shared, statuses, latencies = iter(requests), Counter[int](), list[float]()
    started = perf_counter()
    callers = [
        (await loop.create_connection(lambda: _Caller(shared, statuses, latencies), host, port))[1]
        for _ in range(connections)
    ]
    everyone = asyncio.gather(*(caller.ended for caller in callers))
    await asyncio.wait([everyone], timeout=seconds)
    elapsed = perf_counter() - started
    measured = sorted(latencies)
    seen = Counter(statuses)
    for caller in callers:
        caller.stop()
    await everyone
    return Load(elapsed, seen, measured)


def run_load(host: str, port: int, requests: Iterable[bytes], *, connections: int = 64, seconds: float = 3.0) -> Load:
    """Do `apply_load` in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(apply_load(host, port, requests, connections=connections, seconds=seconds))


def main(port: str, path: str = "/eventgrid", seconds: str = "3") -> None:
    """Load a server on this machine with 900-byte bodies and print what it did."""
    request = build_request(path, b"x" * 900, [("content-type", "application/json; charset=utf-8")])
    load = run_load("127.0.0.1", int(port), itertools.repeat(request), seconds=float(seconds))
    p50, p99 = load.percentile(50) * 1e3, load.percentile(99) * 1e3
    print(f"{load.requests_per_second:,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {dict(load.statuses)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
