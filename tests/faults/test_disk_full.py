"""The disk of Redis's append-only file is full: Redis ends, the receiver says 503, and what it said 200 to is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from proof.power import Disk
from stack.redis_server import RedisServer
from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.receiving import Caller, ServeReceiver, entries
from worker.streams import EVENTS


def assert_taken(caller: Caller) -> None:
    assert caller.post_events(b"[]").status == 200


def assert_readiness(caller: Caller, status: int) -> None:
    assert caller.send("GET", "/readyz").status == status


def test_a_full_disk_ends_redis_and_costs_nothing_that_was_answered_200(
    serve: ServeReceiver,
    private_redis: MakeRedis,
    put_on_disk: Callable[[RedisServer], Disk],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = private_redis()
    caller = serve(server.url)
    disk = put_on_disk(server)
    disk.fill_up(20_000)
    answered = []
    for number in range(1000):
        body = b'[{"id": "%d", "of": "%s"}]' % (number, b"x" * 500)
        if caller.post_events(body).status != 200:
            break
        answered.append(body)
    assert 10 < len(answered) < 1000
    eventually(lambda: assert_gone(server.pid))
    disk.detach()
    assert "Can't recover from AOF write error" in server.log.read_text()
    eventually(lambda: assert_readiness(caller, 503))
    assert caller.metric("attribution_redis_writable") == 0
    assert "Redis takes no writes" in caplog.text
    assert caller.post_events(b"[]").status == 503

    server.kill()  # which only takes note that it is gone
    server.start()  # on a disk with room
    with redis.Redis.from_url(server.url) as client:
        kept = [fields[b"body"] for fields in entries(client, EVENTS)]
    assert kept[: len(answered)] == answered
    eventually(lambda: assert_taken(caller))
    eventually(lambda: assert_readiness(caller, 200))


def assert_gone(pid: int | None) -> None:
    assert pid is None
