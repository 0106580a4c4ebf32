"""The load generator sends what it is given, counts what comes back, and stops."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

from benchmarks.http_load import Load, apply_load, build_request


async def loaded(answer: bytes, requests: int | None, seconds: float) -> tuple[Load, list[bytes]]:
    """Load a server that gives the same answer to everything, in two pieces, and return what it was sent, too."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            while (line := await reader.readline()) != b"\r\n":
                head += line
            received.append(head + await reader.readexactly(5))
            writer.write(answer[:20])
            await asyncio.sleep(0)
            writer.write(answer[20:])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        request = build_request("/eventgrid", b"hello", [("x-example", "1")])
        times = itertools.repeat(request) if requests is None else itertools.repeat(request, requests)
        port = server.sockets[0].getsockname()[1]
        return await apply_load("127.0.0.1", port, times, connections=4, seconds=seconds), received


def test_each_request_is_sent_once_and_its_answer_counted() -> None:
    load, received = asyncio.run(loaded(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", 50, 30))

    assert (
        received == [b"POST /eventgrid HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\nx-example: 1\r\nhello"] * 50
    )
    assert load.statuses == Counter({503: 50})
    assert len(load.latencies) == 50
    assert load.latencies == sorted(load.latencies)
    assert 0 < load.percentile(50) <= load.percentile(99) <= load.latencies[-1]
    assert load.seconds < 30, "it ends with the requests"


def test_endless_requests_end_with_the_time() -> None:
    load, received = asyncio.run(loaded(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None, 0.2))

    assert 0.2 <= load.seconds < 5
    assert load.statuses[200] == len(load.latencies) <= len(received)
    assert load.requests_per_second == len(load.latencies) / load.seconds
