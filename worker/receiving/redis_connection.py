"""One connection to Redis that many callers share.

Commands called in the same turn of the event loop leave in one write, and nobody waits for another's answer: Redis puts
all that it finds in the socket into one fsync. The protocol is spoken here, with redis-py's parser hiredis, because
redis-py's connection, given the same batches, takes two and a half times as long for an append. Where to connect, and
how, is still for redis-py to say: a URL means the same to every process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from ssl import SSLContext
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection

from worker.errors import StreamUnavailable

#: Most bytes that may wait for Redis's answers, so that a slow Redis fills no memory of ours. One larger call passes
#: alone.
_UNANSWERED_BYTES = 64 * 1024 * 1024
#: A call that waits: the future of its answer, when it was made, and its size in bytes.
_Call = tuple[asyncio.Future[Any], float, int]


class RedisConnection(asyncio.Protocol):
    """A connection that is up until ``lost``, a future that ends with the reason. Make it with `open_connection`."""

    def __init__(self, timeout: timedelta) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout.total_seconds()
        self._reader = hiredis.Reader()
        self._outgoing: list[bytes] = []
        self._unanswered: deque[_Call] = deque()
        self._unanswered_bytes = 0
        self._watchdog: asyncio.TimerHandle | None = None
        self._why = "Redis closed the connection"
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def call(self, *command: bytes) -> asyncio.Future[Any]:
        """Send a command, together with whatever else is called in this turn of the event loop.

        The future's result is Redis's answer, which may be a `hiredis.ReplyError`. Cancelling it harms no other call;
        the command may still be carried out.

        Raises:
            StreamUnavailable: from here or from the future, when there is no answer in time, or no connection. The
                command may have been carried out.
        """
        if self._transport.is_closing():
            raise StreamUnavailable(self._why)
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows one argument
        size = len(packed)
        if self._unanswered and self._unanswered_bytes + size > _UNANSWERED_BYTES:
            raise StreamUnavailable("Redis answers more slowly than requests come in")
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing.append(packed)
        answered = self._loop.create_future()
        self._unanswered.append((answered, self._loop.time(), size))
        self._unanswered_bytes += size
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout_seconds, self._watch)
        return answered

    def close(self, why: str) -> None:
        """End the connection now. Calls without an answer fail with ``why``."""
        self._why = why
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to the call that it belongs to: Redis answers in the order of the commands."""
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                answered, _, size = self._unanswered.popleft()
                self._unanswered_bytes -= size
                if not answered.done():  # its request was cancelled
                    answered.set_result(answer)
                if isinstance(answer, hiredis.ReplyError) and str(answer).startswith("READONLY"):
                    # A failover left us with the old primary: look the address up again.
                    self.close("Redis became a replica")
        except (hiredis.ProtocolError, IndexError):
            self.close("Redis sent what nobody asked for")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every call that waits: what became of it is unknown."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self.lost.set_result(self._why)
        for answered, _, _ in self._unanswered:
            if not answered.done():
                answered.set_exception(StreamUnavailable(self._why))
        self._unanswered.clear()

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _watch(self) -> None:
        """Give the connection up once the oldest call has waited too long: no later one can be answered before it."""
        self._watchdog = None
        if not self._unanswered:
            return
        remaining_seconds = self._unanswered[0][1] + self._timeout_seconds - self._loop.time()
        if remaining_seconds <= 0:
            self.close("Redis did not answer in time")
        else:
            self._watchdog = self._loop.call_later(remaining_seconds, self._watch)


async def open_connection(options: Mapping[str, Any], timeout: timedelta) -> RedisConnection:
    """Connect, sign in and choose the database, as ``options``, made by `parse_url`, say.

    Raises:
        StreamUnavailable: it did not work out within ``timeout``. The message says why, without the password.
    """
    loop = asyncio.get_running_loop()
    connection: RedisConnection | None = None
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            _, connection = await loop.create_connection(
                lambda: RedisConnection(timeout),
                options.get("host", "localhost"),
                options.get("port", 6379),
                ssl=_ssl_context(options),
            )
            for command in _greeting(options):
                answer = await connection.call(*command)
                if isinstance(answer, hiredis.ReplyError):
                    raise StreamUnavailable(f"Redis refused {command[0].decode()}: {answer}")
    except BaseException as error:
        if connection is not None:
            connection.close("Redis did not let us in")
        if isinstance(error, TimeoutError):
            raise StreamUnavailable("Redis could not be reached in time") from None
        if isinstance(error, OSError):
            raise StreamUnavailable(f"Redis could not be reached: {error}") from None
        raise
    return connection


def _ssl_context(options: Mapping[str, Any]) -> SSLContext | None:
    if "connection_class" not in options:
        return None
    return SSLConnection(
        **{name: value for name, value in options.items() if name.startswith("ssl_")}
    ).ssl_context.get()


def _greeting(options: Mapping[str, Any]) -> list[tuple[bytes, ...]]:
    commands: list[tuple[bytes, ...]] = []
    if password := options.get("password"):
        user = (options["username"].encode(),) if options.get("username") else ()
        commands.append((b"AUTH", *user, password.encode()))
    if database := options.get("db"):
        commands.append((b"SELECT", b"%d" % int(database)))
    return commands
