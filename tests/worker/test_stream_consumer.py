"""How much a read takes at once, which Redis bounds by the count of entries only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, MESSAGES

KIB = 1024
SMALL = b"1" * 100
LARGE = b"2" * 100 * KIB


@pytest.fixture
def replies() -> list[int]:
    """The bytes of each reply to a read."""
    return []


@pytest.fixture
def consumer(redis_url: str, replies: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamConsumer]:
    client = connect(redis_url)
    execute = client.execute_command

    def execute_and_note(*command: Any, **options: Any) -> Any:
        reply = execute(*command, **options)  # type: ignore[no-untyped-call]
        if command[0] == "XREADGROUP":
            replies.append(sum(len(fields[1]) for _, entries in reply or () for _, fields in entries))
        return reply

    monkeypatch.setattr(client, "execute_command", execute_and_note)
    yield StreamConsumer(client, (MESSAGES, EVENTS))
    client.close()


def push(client: redis.Redis, stream: str, bodies: Sequence[bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for body in bodies:
        pipeline.xadd(stream, {"body": body})
    pipeline.execute()


def read(consumer: StreamConsumer, count: int = 5000, max_bytes: int = 4 * KIB * KIB) -> list[bytes]:
    return [entry.body for entry in consumer.read(count=count, max_bytes=max_bytes, block=None)]


def test_small_bodies_are_read_up_to_the_count_and_in_order(
    consumer: StreamConsumer, redis_client: redis.Redis
) -> None:
    bodies = [b"%d" % number for number in range(1500)]
    push(redis_client, EVENTS, bodies)
    assert read(consumer, 1000) == bodies[:1000]
    assert read(consumer, 1000) == bodies[1000:]
    assert read(consumer, 1000) == []


def test_large_bodies_behind_any_number_of_small_ones_come_in_replies_that_fit_into_memory(
    consumer: StreamConsumer, redis_client: redis.Redis, replies: list[int]
) -> None:
    bodies = [SMALL] * 3000 + [LARGE] * 500
    push(redis_client, EVENTS, bodies)
    taken = []
    while batch := read(consumer):
        taken.append(sum(map(len, batch)))
    assert sum(taken) == sum(map(len, bodies))
    assert max(replies) <= 64 * len(LARGE)
    # Once their size is known a read is of the size that was asked for.
    assert max(taken[1:]) <= 4 * KIB * KIB
    assert len(taken) <= 2 + 500 * len(LARGE) // (4 * KIB * KIB - len(LARGE))


def test_of_both_streams_as_many_are_read(consumer: StreamConsumer, redis_client: redis.Redis) -> None:
    push(redis_client, EVENTS, [b"event"] * 300)
    push(redis_client, MESSAGES, [b"message"] * 100)
    taken = read(consumer, 200)
    assert (taken.count(b"event"), taken.count(b"message")) == (200, 100)


def test_what_was_taken_before_redis_failed_is_not_left_behind(
    consumer: StreamConsumer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(redis_client, EVENTS, [SMALL] * 200)
    read(consumer, 1)  # which makes the group
    answered = iter((True, False, False))
    execute = consumer._client.execute_command

    def fail_then(*command: Any, **options: Any) -> Any:
        if not next(answered, True):
            raise RedisConnectionError("cut")
        return execute(*command, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(consumer._client, "execute_command", fail_then)
    assert len(read(consumer)) == 64
    with pytest.raises(RedisConnectionError):
        read(consumer)
    assert len(read(consumer)) == 200 - 1 - 64


def test_a_read_waits_for_the_first_entry_only(consumer: StreamConsumer, redis_client: redis.Redis) -> None:
    push(redis_client, EVENTS, [SMALL] * 64)  # a full reply, and nothing behind it
    assert len(consumer.read(count=100, block=timedelta(seconds=4))) == 64


def test_of_abandoned_entries_no_more_than_a_reply_is_taken_over_at_once(
    consumer: StreamConsumer, redis_client: redis.Redis
) -> None:
    push(redis_client, EVENTS, [SMALL] * 300)
    consumer.give_back(consumer.read(count=300, block=None))
    claimed = [len(consumer.claim(min_idle=timedelta(0), max_deliveries=5, count=5000).entries) for _ in range(4)]
    assert claimed == [64, 64, 64, 64]
