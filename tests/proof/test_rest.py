"""What is judged at the end of a round beside the oracle's verdict: all rests, and nobody else was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import pytest
import redis

from proof import rest
from proof.probe import NotRecovered
from proof.rest import await_rest, lost_by_celery, miscounted, strangers
from proof.world import World
from simulator.truth import Emitted, Truth
from worker.streams import EVENTS, GROUP, MESSAGES


@dataclass
class Place:
    """All that is asked of a world here."""

    redis_url: str

    def connect_redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)


@pytest.fixture
def place(redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(rest, "CLAIM_AFTER", 0.1)
    for stream in (EVENTS, MESSAGES):
        redis_client.xgroup_create(stream, GROUP, mkstream=True)
    return cast(World, Place(redis_url))


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_where_nothing_is_left_all_has_come_to_rest(place: World) -> None:
    await_rest(place, 20)


@pytest.mark.parametrize("what", ["entry", "pending", "task"])
def test_what_is_left_over_is_named(place: World, redis_client: redis.Redis, what: str) -> None:
    match what:
        case "entry":
            redis_client.xadd(MESSAGES, {"body": b"[]"})
            told = "1 entries on attribution:messages"
        case "pending":
            entry = redis_client.xadd(EVENTS, {"body": b"[]"})
            redis_client.xreadgroup(GROUP, "drain", {EVENTS: ">"})
            redis_client.xdel(EVENTS, str(cast(bytes, entry).decode()))
            told = "1 entries pending of attribution:events"
        case _:
            redis_client.lpush("attribution.tracking", b"{}")
            told = "1 tasks in attribution.tracking"
    with pytest.raises(NotRecovered, match=told):
        await_rest(place, 0.3)


def test_an_event_that_nobody_has_sent_is_named(connection: psycopg.Connection[Any]) -> None:
    truth = Truth()
    truth.write_down(Emitted("known", "followed", "view"))
    for event_id in ("known", "unknown"):
        connection.execute(
            "INSERT INTO azure_engagement_events (event_id, engagement_type, event_timestamp, state, received_at)"
            " VALUES (%s, 'view', now(), 'parked', now())",
            [event_id],
        )
    assert [fault.subject for fault in strangers(truth, connection)] == ["event unknown"]


def test_a_campaign_whose_counts_are_off_is_named(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, sent_at)"
        " SELECT '<m' || n || '@example.com>', n % 2 + 1, now() FROM generate_series(1, 4) AS n"
    )
    assert miscounted(connection) == []
    connection.execute("DROP VIEW stats_by_rows")
    connection.execute("DELETE FROM attribution_count_changes WHERE campaign_id = 2")
    assert [fault.subject for fault in miscounted(connection)] == ["campaign 2"]


def test_celery_may_lose_little() -> None:
    assert lost_by_celery(100, 50) == []
    assert lost_by_celery(10_000, 500) == []
    for handed, missing in ((100, 51), (10_000, 501)):
        (fault,) = lost_by_celery(handed, missing)
        assert fault.subject == "Celery"
