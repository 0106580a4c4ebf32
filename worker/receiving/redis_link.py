"""A connection to Redis that is kept up for as long as the receiver runs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self, cast

from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from worker.errors import RedisUnsafe, SettingsInvalid, StreamUnavailable
from worker.receiving.redis_connection import RedisConnection, open_connection

_log = logging.getLogger(__name__)

#: Seconds between attempts to reach a Redis that is away, on average.
_PAUSE_SECONDS = 0.25
#: The same for a Redis that was reached and is not safe: somebody has to change its configuration.
_UNSAFE_PAUSE_SECONDS = 5.0


class RedisLink:
    """Keeps a `RedisConnection` up: connects, checks Redis, and connects anew whenever it was lost.

    Use it as a context manager. Entering waits for the first attempt to connect and not longer: while Redis is away,
    calls fail at once. ``check`` is called in a thread before each connection is used; it may block, and raise
    `RedisUnsafe` or a `redis.exceptions.RedisError`.

    Raises:
        SettingsInvalid: ``url`` is not one.
    """

    def __init__(self, url: str, *, timeout: timedelta, check: Callable[[], None] = lambda: None) -> None:
        try:
            self._options: Mapping[str, Any] = cast(Mapping[str, Any], parse_url(url))
        except ValueError:  # its text may hold a part of the password
            raise SettingsInvalid(
                "ATTRIBUTION_REDIS_URL cannot be read; characters such as / in it are to be %-encoded."
            ) from None
        self._timeout = timeout
        self._check = check
        self._connection: RedisConnection | None = None
        self._why = "Redis has not been reached yet"

    def call(self, *command: bytes) -> asyncio.Future[Any]:
        """Do `RedisConnection.call` on the connection of the moment.

        Raises:
            StreamUnavailable: as there; and at once while Redis is away or not safe.
        """
        if self._connection is None:
            raise StreamUnavailable(self._why)
        return self._connection.call(*command)

    async def __aenter__(self) -> Self:
        self._attempted = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_connected())
        await self._attempted.wait()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        if self._connection is not None:
            self._connection.close("the receiver has stopped")

    async def _keep_connected(self) -> None:
        while True:
            pause_seconds = _PAUSE_SECONDS
            try:
                await asyncio.to_thread(self._check)
                connection = await open_connection(self._options, self._timeout)
            except RedisUnsafe as error:
                self._note(error, logging.ERROR)
                pause_seconds = _UNSAFE_PAUSE_SECONDS
            except (StreamUnavailable, RedisError) as error:
                self._note(error, logging.WARNING)
            except Exception as error:  # a bug must not end the loop: nothing would ever connect again
                self._note(error, logging.ERROR, traceback=True)
            else:
                await self._stay(connection)
            self._attempted.set()
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 spreads receivers, hides nothing

    async def _stay(self, connection: RedisConnection) -> None:
        _log.info("Redis is connected")
        self._connection = connection
        self._attempted.set()
        why = await asyncio.shield(connection.lost)  # stopping must not cancel it
        self._connection = None
        self._why = why
        _log.warning("Redis is away: %s", why)

    def _note(self, error: Exception, level: int, *, traceback: bool = False) -> None:
        """Remember why Redis is away, and log it unless that was the last thing logged."""
        why = str(error)
        if why != self._why:
            _log.log(level, "Redis is away: %s", why, exc_info=error if traceback else None)
        self._why = why
