"""What a test puts onto the streams, and drains."""

from __future__ import annotations

import json
from typing import Any

import redis

from tasks.batch import Drained
from tasks.context import Context
from tasks.drain import batches_of, drain_abandoned, drain_batch
from worker.streams import EVENTS, GROUP, MESSAGES


def push_events(client: redis.Redis, *bodies: bytes) -> None:
    for body in bodies:
        client.xadd(EVENTS, {"body": body})


def push_messages(client: redis.Redis, *trackings: dict[str, Any]) -> None:
    client.xadd(MESSAGES, {"body": json.dumps(list(trackings)).encode()})


def drain(ctx: Context) -> Drained:
    """Drain both streams until they are empty, and what was abandoned."""
    drained = drain_abandoned(ctx)
    while entries := ctx.consumer.read(count=100, block=None):
        for batch in batches_of(entries, max_bytes=ctx.settings.drain_batch_bytes):
            drained += drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[batch.stream], batch)
    return drained


def backlog(client: redis.Redis) -> tuple[int, int]:
    """Return how many entries both streams hold, and how many of them are pending: none, before a drain has begun."""
    length = client.xlen(EVENTS) + client.xlen(MESSAGES)
    try:
        return length, sum(int(client.xpending(stream, GROUP)["pending"]) for stream in (EVENTS, MESSAGES))
    except redis.exceptions.ResponseError:  # no drain has made the group yet
        return length, 0
