"""Streams on which something is wrong: each fault is made on a real Redis, and found."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from tests.cli.doctor.conftest import Diagnose, random_secret
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import CONSUMER, EVENTS, GROUP, MESSAGES

SECRET = {"event_secrets": random_secret()}


@pytest.fixture
def consumer(redis_url: str, redis_client: redis.Redis) -> StreamConsumer:
    """A drain's view of both streams, which it has begun to read."""
    consumer = StreamConsumer(connect(redis_url), (MESSAGES, EVENTS))
    consumer.create_group()
    return consumer


def push(client: redis.Redis, count: int = 1, *, minutes_ago: float = 0) -> None:
    for number in range(count):
        entry_id = f"{int(time.time() * 1000 - minutes_ago * 60_000)}-{number + 1}" if minutes_ago else "*"
        client.xadd(EVENTS, {"body": b"\xff[]"}, id=entry_id)


def test_nothing_yet_is_in_order(redis_url: str, diagnose: Diagnose) -> None:
    diagnosis = diagnose(only="streams", redis_url=redis_url, **SECRET)
    assert {found["level"] for found in diagnosis.document["findings"]} == {"ok"}


def test_a_drain_at_work_is_in_order(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 20)
    entries = consumer.read(count=10, block=None)
    consumer.acknowledge(entries[3:7])
    diagnosis = diagnose(only="streams", redis_url=redis_url, **SECRET)
    assert {found["level"] for found in diagnosis.document["findings"]} == {"ok"}


def test_a_key_of_ours_that_is_no_stream_is_found(
    redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    redis_client.set(EVENTS, "somebody else's")
    level, sentence, _ = diagnose(only="streams", redis_url=redis_url, **SECRET).one("streams-kind")
    assert level == "failure"
    assert "attribution:events is a string, not a stream" in sentence


def test_a_stream_that_nobody_has_ever_read_is_found(
    redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 3)
    level, sentence, fix = diagnose(only="streams-group", redis_url=redis_url, **SECRET).one("streams-group")
    assert level == "failure"
    assert "attribution:events has no consumer group `attribution`" in sentence
    assert "3 entries wait there." in sentence
    assert "Start a worker" in fix


def test_somebody_else_who_reads_as_part_of_our_group_is_found(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client)
    redis_client.xreadgroup(GROUP, "a stranger", {EVENTS: ">"})
    level, sentence, _ = diagnose(only="streams-group", redis_url=redis_url, **SECRET).one("streams-group")
    assert level == "warning"
    assert sentence.startswith("Others than the drain read attribution:events")


def test_a_stream_that_was_trimmed_is_found(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 10)
    consumer.acknowledge(consumer.read(count=4, block=None))
    redis_client.xtrim(EVENTS, maxlen=4, approximate=False)
    level, sentence, _ = diagnose(only="streams-whole", redis_url=redis_url, **SECRET).one("streams-whole")
    assert level == "failure"
    assert sentence.startswith("2 entries of attribution:events are gone that nobody had drained")


def test_a_consumer_that_was_deleted_is_found_and_the_cure_cures(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 5)
    assert len(consumer.read(count=3, block=None)) == 3
    redis_client.xgroup_delconsumer(EVENTS, GROUP, CONSUMER)
    level, sentence, fix = diagnose(only="streams-whole", redis_url=redis_url, **SECRET).one("streams-whole")
    assert level == "warning"
    assert sentence.startswith("3 entries of attribution:events were read and will not be handed out again")
    command = fix.partition(" hands")[0].split()
    redis_client.execute_command(*command)  # type: ignore[no-untyped-call]
    consumer.acknowledge(consumer.read(count=10, block=None))
    assert redis_client.xlen(EVENTS) == 0
    assert diagnose(only="streams-whole", redis_url=redis_url, **SECRET).one("streams-whole")[0] == "ok"


def test_entries_that_were_read_long_ago_are_found(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 2, minutes_ago=20)
    ids: Any = [entry.entry_id for entry in consumer.read(count=10, block=None)]
    redis_client.xclaim(EVENTS, GROUP, CONSUMER, 0, ids, idle=600_000, retrycount=3)
    level, sentence, _ = diagnose(only="streams-pending", redis_url=redis_url, **SECRET).one("streams-pending")
    assert level == "failure"
    assert sentence.startswith(
        "2 entries of attribution:events were read more than 5 minutes ago, up to 3 times, and never acknowledged"
    )


def test_entries_that_were_handed_back_a_moment_ago_are_not_said_to_be_old(
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    push(redis_client, 2)
    consumer.give_back(consumer.read(count=10, block=None))
    level, sentence, fix = diagnose(only="streams-pending", redis_url=redis_url, **SECRET).one("streams-pending")
    assert level == "failure"
    assert sentence.startswith("2 entries of attribution:events were handed back unworked: batches fail")
    assert "a batch was not finished" in fix


@pytest.mark.parametrize(
    ("count", "minutes_ago", "settings", "words"),
    [
        (3, 45, {}, "3 entries wait on attribution:events, the first of them for 45 minutes"),
        (8, 0, {"backlog_limit": 10}, "8 entries wait on attribution:events; at 10"),
    ],
    ids=["old", "many"],
)
def test_a_drain_that_does_not_keep_up_is_found(
    count: int, minutes_ago: float, settings: dict[str, Any], words: str,
    consumer: StreamConsumer, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose,
) -> None:  # fmt: skip
    push(redis_client, count, minutes_ago=minutes_ago)
    level, sentence, _ = diagnose(only="streams-backlog", redis_url=redis_url, **settings, **SECRET).one(
        "streams-backlog"
    )
    assert level == "failure"
    assert sentence.startswith(words)
