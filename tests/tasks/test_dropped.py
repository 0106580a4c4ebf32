"""What Celery gives up is kept, wherever there is room for it. tests/faults/test_celery.py has Celery itself do it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import redis
from billiard.exceptions import WorkerLostError
from redis.exceptions import OutOfMemoryError

from tasks.dropped import keep_given_up
from tasks.reasons import Reason
from worker.stream_consumer import StreamConsumer
from worker.streams import MESSAGES

TRACKING = {"internet_message_id": "<m1@example.com>", "campaign_id": 7, "subscriber_id": 12}


@pytest.fixture(autouse=True)
def _settings(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("ATTRIBUTION_REDIS_URL", redis_url)


def give_up() -> None:
    keep_given_up(
        sender=SimpleNamespace(name="track_message"), exception=WorkerLostError(), args=(), kwargs=dict(TRACKING)
    )


def kept(database_url: str) -> list[tuple[str, dict[str, object]]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT reason, body FROM attribution_quarantine WHERE kind = 'message'").fetchall()
    return [(reason, json.loads(bytes(body))) for reason, body in rows]


def test_trackings_go_onto_their_stream(database_url: str, redis_client: redis.Redis) -> None:
    give_up()
    entries: Any = redis_client.xrange(MESSAGES)
    ((_, fields),) = entries
    assert json.loads(fields[b"body"]) == TRACKING
    assert kept(database_url) == []


def test_where_redis_has_no_room_they_are_quarantined(
    database_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")

    monkeypatch.setattr(StreamConsumer, "append", refuse)
    give_up()
    assert redis_client.xlen(MESSAGES) == 0
    assert kept(database_url) == [(Reason.DELIVERED_TOO_OFTEN.value, TRACKING)]
