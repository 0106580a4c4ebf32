"""A guard for kombu 5.7.0, whose worker ends when Redis goes away while messages are unacknowledged.

Cause: after a connection error Celery closes a connection whose transport has been collected already; restoring the
unacknowledged messages then asks that transport for its host name, and the AttributeError is not among the errors that
the shutdown path ignores. Saying what is true, that the connection is gone, lets Celery reconnect; the messages return
by the visibility timeout. A test kills Redis under unacknowledged messages; when it passes without this module, delete
this module.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as RedisConnectionError


def install() -> None:
    """Put the guard in place. Doing it twice does nothing more."""
    original = Channel._connparams  # type: ignore[attr-defined]
    if getattr(original, "guarded", False):
        return

    @wraps(original)
    def guarded(self: Channel, asynchronous: bool = False) -> Any:
        transport: Any = self.connection
        if transport is None or transport.client is None:
            raise RedisConnectionError("the transport of this channel is closed already")
        return original(self, asynchronous)

    guarded.guarded = True  # type: ignore[attr-defined]
    Channel._connparams = guarded  # type: ignore[attr-defined]
