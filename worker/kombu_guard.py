"""Guards for kombu 5.7.0. Each says what goes wrong without it; when its test passes without it, delete it.

A worker ends when Redis goes away while messages are unacknowledged. After a connection error Celery closes a
connection whose transport has been collected already; restoring the unacknowledged messages then asks that transport
for its host name, and the AttributeError is not among the errors that the shutdown path ignores. Saying what is true,
that the connection is gone, lets Celery reconnect; the messages return by the visibility timeout.

A worker hangs after something has held it up, such as a message of a hundred megabytes. It has then missed answers to
its health checks, and makes its pub/sub connection anew; and it goes on to read from one where nothing has come,
without a timeout. Only another worker's heartbeat would wake it. With the guard it reads only what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from queue import Empty
from typing import Any

from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as RedisConnectionError


def install() -> None:
    """Put the guards in place. Doing it twice does nothing more."""
    _guard("_connparams", _require_transport)
    _guard("_receive_one", _require_something_to_read)


def _guard(name: str, check: Callable[..., None]) -> None:
    """Have ``check`` called before the method ``name`` of a channel, with what that is given."""
    original = getattr(Channel, name)
    if getattr(original, "guarded", False):
        return

    @wraps(original)
    def guarded(channel: Channel, *args: Any, **options: Any) -> Any:
        check(channel, *args)
        return original(channel, *args, **options)

    guarded.guarded = True  # type: ignore[attr-defined]
    setattr(Channel, name, guarded)


def _require_transport(channel: Channel, *_: Any) -> None:
    transport: Any = channel.connection
    if transport is None or transport.client is None:
        raise RedisConnectionError("the transport of this channel is closed already")


def _require_something_to_read(_channel: Channel, subclient: Any) -> None:
    """Raise what kombu takes for nothing to do. A connection that is none yet is made by the reading itself."""
    connection = subclient.connection
    if connection is not None and connection.is_connected and not connection.can_read(timeout=0):
        raise Empty
