"""What the receiver sees of Redis: how much waits, since when, and whether it keeps what it is given."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis

from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.receiving import ServeReceiver
from worker.receiving.redis_link import RedisLink
from worker.receiving.redis_look import RedisLook, look_at
from worker.streams import CONSUMER, EVENTS, GROUP, MESSAGES

HOUR_MS = 3_600_000


def look(redis_url: str) -> RedisLook:
    async def once() -> RedisLook:
        async with RedisLink(redis_url, timeout=timedelta(seconds=10)) as link:
            return await look_at(link)

    return asyncio.run(once())


def hours_ago(client: redis.Redis, hours: float) -> str:
    """Return the id of an entry that came then, by Redis's clock."""
    seconds, microseconds = client.time()
    return f"{int(seconds * 1000 + microseconds / 1000 - hours * HOUR_MS)}-0"


def test_streams_that_are_not_there_are_empty(redis_url: str, redis_client: redis.Redis) -> None:
    seen = look(redis_url)
    assert {stream: (each.entries, each.age) for stream, each in seen.streams.items()} == {
        EVENTS: (0, 0),
        MESSAGES: (0, 0),
    }
    assert seen.refusal is None
    assert seen.keeps is True
    assert seen.persists is True
    assert redis_client.exists(EVENTS, MESSAGES) == 0


@pytest.mark.parametrize("read", ["nothing", "all", "acknowledged"])
def test_the_oldest_entry_tells_how_far_the_drain_is_behind(
    redis_url: str, redis_client: redis.Redis, read: str
) -> None:
    oldest = hours_ago(redis_client, 3)
    for entry_id in (oldest, hours_ago(redis_client, 2)):
        redis_client.xadd(EVENTS, {"body": b"x"}, id=entry_id)
    expected = 3 * 3600
    if read != "nothing":
        redis_client.xgroup_create(EVENTS, GROUP, id="0")
        redis_client.xreadgroup(GROUP, CONSUMER, {EVENTS: ">"}, count=1)
    if read == "acknowledged":
        redis_client.xack(EVENTS, GROUP, oldest)
        redis_client.xdel(EVENTS, oldest)
        expected = 2 * 3600
    assert look(redis_url).streams[EVENTS].age == pytest.approx(expected, abs=60)


def test_an_id_of_the_future_has_no_age(redis_url: str, redis_client: redis.Redis) -> None:
    redis_client.xadd(EVENTS, {"body": b"x"}, id=hours_ago(redis_client, -5))
    assert look(redis_url).streams[EVENTS].age == 0


def test_a_key_that_is_no_stream_spoils_no_other_look(redis_url: str, redis_client: redis.Redis) -> None:
    redis_client.set(EVENTS, "somebody's")
    redis_client.xadd(MESSAGES, {"body": b"x"})
    seen = look(redis_url)
    assert seen.refusal is not None  # what is sent to us cannot be kept
    assert seen.refusal.startswith("WRONGTYPE")
    assert seen.streams.keys() == {MESSAGES}


def test_metrics_tell_that_redis_has_begun_to_evict(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server: Any = private_redis()
    caller = serve(server.url)
    assert caller.metric("attribution_redis_keeps") == 1
    assert caller.metric("attribution_redis_persists") == 1
    with redis.Redis.from_url(server.url, protocol=2) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    def evicts() -> None:
        assert caller.metric("attribution_redis_keeps") == 0

    eventually(evicts)


@pytest.mark.parametrize("name", ["aof_last_write_status", "aof_last_bgrewrite_status"])
def test_an_error_of_persistence_is_one(name: str) -> None:
    from worker.receiving import redis_look

    assert redis_look._persists({name.encode(): b"err"}) is False
    assert redis_look._persists({name.encode(): b"ok"}) is True


def test_what_redis_does_not_tell_is_not_judged() -> None:
    from worker.receiving import redis_look

    assert redis_look._fields(Exception("NOPERM")) == {}


def test_the_backlog_and_its_age_are_metrics(serve: ServeReceiver, redis_url: str, redis_client: redis.Redis) -> None:
    redis_client.xadd(MESSAGES, {"body": b"x"}, id=hours_ago(redis_client, 1))
    caller = serve(redis_url)
    assert caller.metric("attribution_backlog_age_seconds", stream=MESSAGES) == pytest.approx(3600, abs=60)
    assert caller.metric("attribution_backlog_age_seconds", stream=EVENTS) == 0
