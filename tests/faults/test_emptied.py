"""Somebody empties Redis, deletes the group, or brings back an older copy of its data: it goes on, and it is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis

from tasks.context import Context
from tests.conftest import MakeRedis
from tests.db.rows import stored
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events
from tests.waiting import eventually
from tests.worker.receiving import Caller, ServeReceiver
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, GROUP, MESSAGES


def losses(caller: Caller, stream: str = EVENTS) -> float:
    return caller.metric("attribution_stream_losses_total", stream=stream)


def assert_lost_since(caller: Caller, before: float) -> None:
    assert losses(caller) == before + 1


def take_off(client: redis.Redis, url: str) -> None:
    """Read and acknowledge all that waits, as a drain does."""
    consumer = StreamConsumer(connect(url), (MESSAGES, EVENTS))
    consumer.acknowledge(consumer.read(count=1000, block=None))


def backlog_of(caller: Caller) -> float:
    return caller.metric("attribution_backlog_entries", stream=EVENTS)


def assert_backlog(caller: Caller, entries: int) -> None:
    assert backlog_of(caller) == entries


def test_a_redis_that_was_emptied_is_alarmed_by_the_receiver_and_taken_into_use_again(
    serve: ServeReceiver, private_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis()
    caller = serve(server.url)
    before = losses(caller)
    with redis.Redis.from_url(server.url) as client:
        for number in range(5):
            assert caller.post_events(body_of(engagement(f"e{number}"))).status == 200
        take_off(client, server.url)
        for number in range(3):
            assert caller.post_events(body_of(engagement(f"lost{number}"))).status == 200
        eventually(lambda: assert_backlog(caller, 3))

        with caplog.at_level("ERROR"):
            client.flushall()
            eventually(lambda: assert_lost_since(caller, before))
        assert "attribution:events has lost its past: 5 entries of it had been read" in caplog.text
        assert "3 entries waited to be drained" in caplog.text

        assert caller.post_events(body_of(engagement("after"))).status == 200
        consumer = StreamConsumer(connect(server.url), (MESSAGES, EVENTS))
        assert len(consumer.read(count=10, block=None)) == 1, "the group was made anew at the beginning"


def test_older_data_that_were_brought_back_are_alarmed_and_what_comes_again_is_counted_once(
    serve: ServeReceiver, private_redis: MakeRedis, tmp_path: Path
) -> None:
    server = private_redis()
    caller = serve(server.url)
    before = losses(caller)
    data = server.log.parent / "redis"
    with redis.Redis.from_url(server.url) as client:
        assert caller.post_events(body_of(engagement("earlier"))).status == 200
        take_off(client, server.url)
        for number in range(4):
            assert caller.post_events(body_of(engagement(f"e{number}"))).status == 200
        eventually(lambda: assert_backlog(caller, 4))
        server.stop()
        shutil.copytree(data, tmp_path / "older")
        server.start()
        take_off(client, server.url)
        eventually(lambda: assert_backlog(caller, 0))

        server.stop()
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "older", data)
        server.start()
        eventually(lambda: assert_lost_since(caller, before))
        assert client.xlen(EVENTS) == 4, "they come again, and the event key drops them"


def test_a_group_that_was_deleted_costs_nothing_and_is_no_alarm_of_a_loss(
    ctx: Context, serve: ServeReceiver, redis_url: str, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caller = serve(redis_url)
    before = losses(caller)
    push_events(redis_client, *(body_of(engagement(f"e{number}")) for number in range(3)))
    drain(ctx)
    push_events(redis_client, *(body_of(engagement(f"f{number}")) for number in range(3)))
    ctx.consumer.read(count=2, block=None)  # pending when the group is deleted
    redis_client.xgroup_destroy(EVENTS, GROUP)
    with caplog.at_level("ERROR"):
        assert drain(ctx).parked == 3
    assert "the consumer group was there and is gone" in caplog.text
    assert stored(ctx.engine).keys() == {f"{kind}{number}" for kind in "ef" for number in range(3)}
    assert backlog(redis_client) == (0, 0)
    push_events(redis_client, b"[]")
    eventually(lambda: assert_backlog(caller, 1))  # it has looked since
    assert losses(caller) == before


def test_a_drain_that_waits_when_redis_is_emptied_goes_on(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement("e1")))
    drain(ctx)
    redis_client.flushall()
    push_events(redis_client, body_of(engagement("e2")))
    assert drain(ctx).parked == 1
    assert stored(ctx.engine).keys() == {"e1", "e2"}


def test_the_first_drain_of_a_new_redis_alarms_nobody(
    ctx: Context, private_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis()
    consumer = StreamConsumer(connect(server.url), (MESSAGES, EVENTS))
    with caplog.at_level("ERROR"):
        assert consumer.read(count=10, block=None) == []
    assert caplog.text == ""
