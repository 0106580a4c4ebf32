"""What the gauges tell of Redis that the receiver does not: what was read and is being worked, and what is queued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import ResponseError

from worker.streams import GROUP
from worker.telemetry import metrics

_Measures = dict[metrics.Measure, list[tuple[list[str], float]]]


def measure_streams(client: redis.Redis, streams: Sequence[str]) -> _Measures:
    """Return the pending entries of each stream, and when its newest entry came; of one that is not there, nothing.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    pending, newest = [], []
    for stream in streams:
        try:
            info: Any = client.xinfo_stream(stream)
            waiting: Any = client.xpending(stream, GROUP)
        except ResponseError:  # nobody has written to it, or read from it, yet
            continue
        pending.append(([stream], float(waiting["pending"])))
        milliseconds = float(str(info["last-generated-id"], "ascii").partition("-")[0])
        if milliseconds:
            newest.append(([stream], milliseconds / 1000))
    return {metrics.PENDING: pending, metrics.LAST_ENTRY: newest}


def measure_queues(broker: redis.Redis, queues: Sequence[str]) -> _Measures:
    """Return how many messages wait in each of Celery's queues.

    Raises:
        redis.exceptions.RedisError: the broker is away.
    """
    lengths: list[Any] = [broker.llen(queue) for queue in queues]
    return {metrics.QUEUED: [([queue], float(length)) for queue, length in zip(queues, lengths, strict=True)]}
