"""A receiver that answers as it is told, and remembers what it was sent and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    method: str
    at: float
    headers: CIMultiDictProxy[str]
    query: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[Any]:
        """The events of the body, whatever its shape."""
        content = msgspec.json.decode(self.body)
        return content if isinstance(content, list) else [content]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


@dataclass(frozen=True)
class Answer:
    """What to answer, and after how long."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0


#: Given the number of the request, from 0, and the request itself.
Script = Callable[[int, Received], Answer]


@dataclass
class FakeReceiver:
    """Requests so far, and where to send more."""

    url: str
    script: Script
    requests: list[Received] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Ids of all events received, in order, as often as they came."""
        return [event_id for request in self.requests for event_id in request.ids]

    @property
    def waits(self) -> list[float]:
        """Seconds between one request and the next."""
        return [later.at - earlier.at for earlier, later in zip(self.requests, self.requests[1:], strict=False)]


def always(status: int = 200, **answer: Any) -> Script:
    """Answer every request alike."""
    return lambda _, __: Answer(status, **answer)


def first(*statuses: int) -> Script:
    """Answer the first requests with these codes, and all later ones with 200."""
    return lambda number, _: Answer(statuses[number] if number < len(statuses) else 200)


@asynccontextmanager
async def fake_receiver(script: Script) -> AsyncIterator[FakeReceiver]:
    """Listen on the loopback address for the length of the context."""

    async def answer(request: web.Request) -> web.Response:
        received = Received(request.method, time.monotonic(), request.headers, request.query, await request.read())
        receiver.requests.append(received)
        answer = receiver.script(len(receiver.requests) - 1, received)
        await asyncio.sleep(answer.after_seconds)
        body = b"" if answer.body is None else msgspec.json.encode(answer.body)
        return web.Response(status=answer.status, body=body, headers=answer.headers)

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver = FakeReceiver(f"http://127.0.0.1:{port}/eventgrid", script)
    try:
        yield receiver
    finally:
        await runner.cleanup()
