"""Is this Redis one that keeps what it acknowledges? Asked once, before the first 200 and before the first drain."""

from __future__ import annotations

import logging

import redis
from redis.exceptions import ResponseError

from worker.errors import RedisUnsafe

_log = logging.getLogger(__name__)

#: What each setting must be, and what is lost where it is not.
_REQUIRED = {
    "maxmemory-policy": ("noeviction", "it may evict the streams when its memory is full, acknowledged events and all"),
    "appendonly": ("yes", "it keeps the streams in memory only and loses them when it restarts"),
    "appendfsync": ("always", "it answers before the disk has the data and loses the last second or two with the power"),
}


def check_redis(settings: dict[str, str]) -> None:
    """Judge what ``CONFIG GET`` answered.

    Raises:
        RedisUnsafe: a sentence for each setting that loses data, with the line that cures it.
    """
    faults = [
        f"{name} is {settings[name]!r}: {harm}. Set `{name} {required}` in redis.conf, or `CONFIG SET {name} {required}`."
        for name, (required, harm) in _REQUIRED.items()
        if name in settings and settings[name] != required
    ]
    if faults:
        raise RedisUnsafe(
            f"This Redis may lose what it acknowledged. {' '.join(faults)}"
            " ATTRIBUTION_ALLOW_UNSAFE_REDIS=true starts all the same."
        )


def require_safe_redis(redis_url: str) -> None:
    """Ask the Redis at ``redis_url`` for its settings and judge them.

    A managed Redis may forbid the question; that is logged, and its operator's word is taken.

    Raises:
        RedisUnsafe: it may lose data.
        redis.exceptions.RedisError: it cannot be reached.
    """
    with redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5, decode_responses=True) as client:
        try:
            settings = client.config_get(*_REQUIRED)
        except ResponseError:
            _log.warning("this Redis does not say how it is configured; make sure that %s", required_settings())
            return
    check_redis(settings)


def required_settings() -> str:
    """Name the settings that a safe Redis has."""
    return ", ".join(f"{name} is {required}" for name, (required, _) in _REQUIRED.items())
