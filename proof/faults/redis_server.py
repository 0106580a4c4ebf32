"""Faults of Redis that leave it running: no room, no group, and entries handed to two at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import redis

from proof.faults.fault import fault
from proof.world import World
from worker.streams import CONSUMER, EVENTS, GROUP, MESSAGES

_STREAMS = (EVENTS, MESSAGES)


@fault("Redis full", lasts=(2.0, 6.0))
def full(world: World, target: str, rng: Random) -> Iterator[str]:
    """``maxmemory`` is reached: it refuses whatever would take more, and lets the drain make room."""
    with world.connect_redis() as client:
        former = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        refused = _refused(client)
        try:
            yield ""
        finally:
            client.config_set("maxmemory", former)
            world.note(_refused(client) - refused, "writes refused")


@fault("group lost", lasts=(0.5, 2.0))
def group_lost(world: World, target: str, rng: Random) -> Iterator[str]:
    """The consumer group is gone, and with it the memory of what was handed to whom."""
    with world.connect_redis() as client:
        world.note(sum(client.xgroup_destroy(stream, GROUP) for stream in _STREAMS), "groups")
        yield ""


@fault("worked twice", lasts=(2.0, 4.0))
def worked_twice(world: World, target: str, rng: Random) -> Iterator[str]:
    """Whatever a drain process holds is made to look abandoned, so that another takes it, too."""
    over = threading.Event()
    handed = 0

    def hand_over() -> None:
        nonlocal handed
        with world.connect_redis() as client:
            while not over.wait(0.02):
                for stream in _STREAMS:
                    try:
                        pending = client.xpending_range(stream, GROUP, "-", "+", 500)
                        ids = [row["message_id"] for row in pending]
                        if ids:
                            # As XCLAIM leaves it, so the count of deliveries stays: nobody is to blame for this.
                            handed += len(client.xclaim(stream, GROUP, CONSUMER, 0, ids, idle=3_600_000, justid=True))
                    except redis.RedisError:
                        continue

    hand = threading.Thread(target=hand_over, name="hand-over", daemon=True)
    hand.start()
    try:
        yield ""
    finally:
        over.set()
        hand.join()
        world.note(handed, "entries handed over")


def _refused(client: redis.Redis) -> int:
    """Return how many commands have ever been refused for want of room."""
    errors: Any = client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))
