"""Trackings that mailers have handed in and that are not recorded yet: what PostgreSQL cannot know of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import redis

from worker.errors import SettingsInvalid
from worker.queues import PRIORITIES, TRACKING
from worker.settings import WorkerSettings
from worker.streams import MESSAGES

_HANDED_IN: Final = f"handed-in trackings ({TRACKING}, {MESSAGES})"


def count_untaken(streams: redis.Redis, broker: redis.Redis) -> dict[str, int]:
    """Return how much waits in the tracking queue and on the stream of trackings, by their names.

    Each is a Celery message or a call of a mailer, and may hold many trackings. What a worker is recording just now is
    not in the queue, and still on the stream.

    Raises:
        redis.exceptions.RedisError: one of the two is away.
    """
    return {
        TRACKING: sum(int(str(broker.llen(f"{TRACKING}{priority}"))) for priority in PRIORITIES),
        MESSAGES: int(str(streams.xlen(MESSAGES))),
    }


def ask_untaken(settings: WorkerSettings) -> dict[str, int] | None:
    """Return what `count_untaken` does, from the Redis of ``settings``; None if it does not answer within seconds."""
    from worker.redis_checks import connect

    servers = (settings.redis_url, settings.broker_url or settings.redis_url)
    try:
        with connect(servers[0].get_secret_value()) as streams, connect(servers[1].get_secret_value()) as broker:
            return count_untaken(streams, broker)
    except (redis.RedisError, SettingsInvalid):
        return None


def untaken_sentence(untaken: Mapping[str, int] | None) -> str:
    """Say what it means for a message that nobody seems to have tracked."""
    if untaken is None:
        return f"Redis does not answer, so whether {_HANDED_IN} wait to be recorded is not known."
    if not any(untaken.values()):
        return f"No {_HANDED_IN} wait to be recorded: whoever tracked it has not handed it in here."
    counts = " and ".join(f"{count:,} in {name}" for name, count in untaken.items() if count)
    return (
        f"It may be tracked and not recorded yet: {counts} wait. `attribution doctor` says whether a worker takes them."
    )
