"""Two beats tick at once, and then none does."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis
from sqlalchemy import Engine

from tests.acceptance.conftest import StartProgram
from tests.db.rows import stored
from tests.faults.programs import assert_empty, start_worker
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events, push_messages
from tests.waiting import eventually

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

NAMES = [f"waits-{number}" for number in range(40)]


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Where twice would show: listmonk has no unique key on its views."""
    return listmonk_database_url


def assert_talk(pids: list[int], redis_url: str) -> None:
    """Assert that each process is connected to Redis, which a beat is from its first tick on."""
    for pid in pids:
        connections = psutil.Process(pid).net_connections()
        assert urlsplit(redis_url).port in {getattr(connection.raddr, "port", None) for connection in connections}


def assert_attributed(engine: Engine, count: int) -> None:
    assert [state for state, *_ in stored(engine).values()].count("attributed") == count


def assert_views(database_url: str, count: int) -> None:
    with psycopg.connect(database_url) as look:
        assert look.execute("SELECT count(*) FROM campaign_views").fetchone() == (count,)


def test_two_beats_do_nothing_twice_and_without_any_draining_and_releasing_go_on(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    settings = {
        "attribution_database_url": database_url,
        "attribution_redis_url": redis_url,
        "attribution_sweep_interval": 0.2,
    }
    start_worker(start, database_url, redis_url, attribution_sweep_interval=0.2)
    for name in NAMES:
        body = body_of(engagement(name, internet_message_id=f"<{name}@example.com>", engagementType="view"))
        push_events(redis_client, body)
    eventually(lambda: assert_empty(redis_client), within=20)
    beats = [start("beat", **settings) for _ in range(2)]
    eventually(lambda: assert_talk([beat.process.pid for beat in beats], redis_url), within=30)
    # Another program tracks them: only a sweep can find that.
    with psycopg.connect(database_url) as listmonk, listmonk.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id, internet_message_id)"
            " VALUES (gen_random_uuid(), 7, 12, %s)",
            [(f"<{name}@example.com>",) for name in NAMES],
        )
    eventually(lambda: assert_attributed(engine, len(NAMES)), within=30)
    assert_views(database_url, len(NAMES))

    for beat in beats:
        beat.kill()
    push_events(redis_client, body_of(engagement("later", engagementType="view")))
    push_messages(redis_client, {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7})
    eventually(lambda: assert_attributed(engine, len(NAMES) + 1), within=20)
    eventually(lambda: assert_empty(redis_client), within=20)
    assert_views(database_url, len(NAMES) + 1)
