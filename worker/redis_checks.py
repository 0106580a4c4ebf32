"""Is this Redis one that keeps what it acknowledges? Asked before the first 200 and before the first drain."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from worker.errors import RedisUnsafe, SettingsInvalid

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 2

#: What each setting must be, and what is lost where it is not.
REQUIRED = {
    "maxmemory-policy": (
        "noeviction",
        "once it has a maxmemory and that is full, it may evict the streams, acknowledged events and all",
    ),
    "appendonly": ("yes", "it keeps the streams in memory only and loses them when it stops"),
    "appendfsync": (
        "always",
        "it answers before the disk has the data, and loses a second or two when the power fails or the disk stalls",
    ),
    "no-appendfsync-on-rewrite": (
        "no",
        "while it rewrites its append-only file it answers before the disk has the data",
    ),
}
_REMEDY = (
    "Change redis.conf and, to spare a restart, send it `{commands}`."
    " ATTRIBUTION_ALLOW_UNSAFE_REDIS=true starts all the same."
)


def faults_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a sentence for each setting in ``settings`` that loses data, by its name."""
    return {
        name: f"{name} is {settings[name]!r}: {harm}; it must be `{name} {required}`."
        for name, (required, harm) in REQUIRED.items()
        if name in settings and settings[name] != required
    }


def check_redis(settings: Mapping[str, str]) -> None:
    """Judge what ``CONFIG GET`` answered. A setting that is not there is not judged.

    Raises:
        RedisUnsafe: a sentence for each setting that loses data, with the line that cures it.
    """
    if faults := faults_of(settings):
        commands = "` and `".join(f"CONFIG SET {name} {REQUIRED[name][0]}" for name in faults)
        raise RedisUnsafe(
            f"This Redis may lose what it acknowledged. {' '.join(faults.values())} {_REMEDY.format(commands=commands)}"
        )


def require_safe_redis(redis_url: str) -> None:
    """Ask the Redis at ``redis_url`` for its settings and judge them. Takes a few seconds at the most.

    A managed Redis may forbid the question; that is logged, and its operator's word is taken, except for the eviction
    policy, which any Redis tells.

    Raises:
        RedisUnsafe: it may lose data.
        SettingsInvalid: ``redis_url`` is not one.
        redis.exceptions.RedisError: it cannot be reached.
    """
    with connect(redis_url) as client:
        settings = read_settings(client)
    if unseen := [f"{name} is {required}" for name, (required, _) in REQUIRED.items() if name not in settings]:
        _log.warning("this Redis does not let us see how it is configured; make sure that %s", ", ".join(unseen))
    check_redis(settings)


def read_settings(client: redis.Redis) -> dict[str, str]:
    """Ask for the settings that are judged; return those that this Redis lets us see."""
    try:
        # One at a time: Redis 6 takes no more.
        answers = [cast(dict[str, str], client.config_get(name)) for name in REQUIRED]
    except ResponseError:
        return _visible_settings(client)
    return {name: value for answer in answers for name, value in answer.items()}


def _visible_settings(client: redis.Redis) -> dict[str, str]:
    """Return what a Redis that forbids ``CONFIG GET`` tells all the same."""
    with suppress(ResponseError):
        return {"maxmemory-policy": str(client.info("memory")["maxmemory_policy"])}
    return {}


def connect(redis_url: str) -> redis.Redis:
    """Return a client that waits for a few seconds at the most, for answers as text.

    Raises:
        SettingsInvalid: ``redis_url`` is not one.
    """
    try:
        return redis.Redis.from_url(
            redis_url,
            protocol=2,
            decode_responses=True,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # its text may hold a part of the password
        raise SettingsInvalid(
            "ATTRIBUTION_REDIS_URL cannot be read; characters such as / in it are to be %-encoded."
        ) from None
