"""The three doors through which a mailer says what it sent, each used as a mailer without our code would use it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import aiohttp
import celery
import kombu.exceptions
import msgspec
import redis.asyncio
import redis.exceptions

from simulator import truth

#: One send-tracking: the JSON object that every door takes.
Tracking = Mapping[str, Any]

_ENCODE = msgspec.json.Encoder().encode
_STREAM: Final = "attribution:messages"
_QUEUE: Final = "attribution.tracking"


class DoorShut(Exception):
    """The door could not be reached, or asked to come back later. What was handed in may have arrived all the same."""


class TrackingRefused(Exception):
    """The door took the trackings for invalid. Trying again will not help."""


class Door(Protocol):
    """A way to track messages. Handing the same trackings in twice is harmless."""

    name: truth.Door

    async def track(self, trackings: Sequence[Tracking]) -> None:
        """Hand in trackings, together. Returns once the door has confirmed them.

        Raises:
            DoorShut: nothing was confirmed; try again later.
            TrackingRefused: they are invalid.
        """

    async def close(self) -> None:
        """Let go of the connections."""


class HttpDoor:
    """``POST /messages``: durable once answered 202."""

    name: truth.Door = "http"

    def __init__(self, url: str, secret: str | None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def track(self, trackings: Sequence[Tracking]) -> None:
        """Post one object, or several as JSON lines."""
        body = b"\n".join(map(_ENCODE, trackings))
        kind = "application/json" if len(trackings) == 1 else "application/x-ndjson"
        try:
            async with self._http.post(
                self._url, data=body, headers={**self._headers, "Content-Type": kind}, allow_redirects=False
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise DoorShut(f"POST /messages failed: {type(error).__name__}") from error
        if status in {408, 429} or status >= 500:
            raise DoorShut(f"POST /messages was answered {status}")
        if status != 202:
            raise TrackingRefused(f"POST /messages was answered {status}")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.close()


class StreamDoor:
    """One ``XADD`` to the stream of messages: durable once Redis answers, as far as its AOF is."""

    name: truth.Door = "stream"

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=2)

    async def track(self, trackings: Sequence[Tracking]) -> None:
        """Append one entry that holds one object, or an array."""
        body = _ENCODE(trackings[0] if len(trackings) == 1 else list(trackings))
        try:
            await self._redis.xadd(_STREAM, {"body": body})
        except (redis.exceptions.RedisError, OSError) as error:
            raise DoorShut(f"XADD failed: {type(error).__name__}") from error

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()


class CeleryDoor:
    """A Celery message by task name. Celery on Redis may lose one in the moment between its pop and its note of it."""

    name: truth.Door = "celery"

    def __init__(self, broker_url: str) -> None:
        self._app = celery.Celery("mailer", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            task_ignore_result=True,
            broker_transport_options={"socket_timeout": 3, "socket_connect_timeout": 2},
        )
        # Celery's client blocks, and is used from one thread only.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="celery-door")

    async def track(self, trackings: Sequence[Tracking]) -> None:
        """Send ``track_message`` for one, ``track_messages`` for several."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._send, trackings)
        except (kombu.exceptions.OperationalError, redis.exceptions.RedisError, OSError) as error:
            raise DoorShut(f"the task could not be sent: {type(error).__name__}") from error

    def _send(self, trackings: Sequence[Tracking]) -> None:
        if len(trackings) == 1:
            self._app.send_task("track_message", kwargs=dict(trackings[0]), queue=_QUEUE)
        else:
            self._app.send_task("track_messages", args=[[dict(tracking) for tracking in trackings]], queue=_QUEUE)

    async def close(self) -> None:
        """Let go of the connections."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._app.close)
        self._thread.shutdown()
