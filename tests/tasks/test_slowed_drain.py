"""What a slowed drain process reads: a few events at a time, every tracking at once, and nothing while it waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis
from sqlalchemy import text

from tasks import drain as drain_module
from tasks.context import Context
from tasks.drainer import Drainer
from tasks.pace import SLOW_BYTES, SLOW_ENTRIES
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, push_events, push_messages
from tests.waiting import eventually
from worker.settings import WorkerSettings
from worker.streams import EVENTS, MESSAGES

BAD = body_of(engagement(userActionTimestamp="yesterday"))
TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}


@pytest.fixture
def settings(database_url: str, redis_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, "alarm_least": 100}
    return WorkerSettings(**overrides)


def streams_of(entries: Any) -> list[str]:
    return [entry.stream for entry in entries]


def test_a_few_events_are_read_and_then_trackings_only_until_the_pause_is_over(
    ctx: Context, redis_client: redis.Redis
) -> None:
    push_events(redis_client, *[BAD] * 200)
    push_messages(redis_client, TRACKING)
    ctx.pace.slowed = True
    drainer = Drainer(ctx)
    assert streams_of(drainer._take(5000)) == [MESSAGES] + [EVENTS] * SLOW_ENTRIES
    push_messages(redis_client, TRACKING)
    assert streams_of(drainer._take(5000)) == [MESSAGES]
    assert backlog(redis_client) == (202, SLOW_ENTRIES + 2)  # what waits is in nobody's hand, so nobody claims it
    drainer._events_at = time.monotonic()
    assert streams_of(drainer._take(5000)) == [EVENTS] * SLOW_ENTRIES
    ctx.pace.slowed = False
    assert len(drainer._take(5000)) == 200 - 2 * SLOW_ENTRIES


def test_of_large_bodies_fewer_are_read(ctx: Context, redis_client: redis.Redis) -> None:
    large = b"[" + b" " * (SLOW_BYTES // 4) + b"]"
    push_events(redis_client, *[large] * 100)
    ctx.pace.slowed = True
    drainer = Drainer(ctx)
    drainer._take(5000)  # their size is known only now
    drainer._events_at = time.monotonic()
    assert streams_of(drainer._take(5000)) == [EVENTS] * 3


def test_a_drain_process_that_can_read_nothing_leaves_nearly_all_of_it_on_the_stream(
    ctx: Context, redis_client: redis.Redis
) -> None:
    """It had read ahead a hundred, four hundred and sixteen hundred entries when the first of them raised the alarm."""
    pipeline = redis_client.pipeline(transaction=False)
    for _ in range(4000):
        pipeline.xadd(EVENTS, {"body": BAD})
    pipeline.execute()
    drainer = Drainer(ctx)
    process = threading.Thread(target=drainer.run)
    process.start()
    try:
        eventually(lambda: _assert_slowed(ctx), within=30)
    finally:
        drainer.stop()
        process.join(50)
    assert not process.is_alive()
    waiting, pending = backlog(redis_client)
    assert pending == 0
    assert waiting >= 4000 - 2100 - SLOW_ENTRIES
    with ctx.engine.begin() as conn:
        counted = conn.execute(text("SELECT sum(malformed) FROM attribution_tallies")).scalar_one()
    assert 100 <= counted <= 4000 - waiting


def _assert_slowed(ctx: Context) -> None:
    assert ctx.pace.slowed


def test_the_task_is_slowed_as_well_and_never_stopped(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.drain.context", lambda: ctx)
    push_events(redis_client, *[BAD] * 300)
    noticed = 4 * drain_module.MOST_READ  # the first that is more than a hundred
    assert drain_module.drain_events.run() == f"quarantined {noticed}"
    few = drain_module.MOST_READ  # which is fewer than the drain processes take
    for tick in (1, 2, 3):
        assert drain_module.drain_events.run() == f"quarantined {few}"
        assert backlog(redis_client) == (300 - noticed - tick * few, 0)
