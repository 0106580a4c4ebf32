"""The power goes, or the disk stalls, under Redis. Its fsyncs are watched and taken at their word: `proof.power`."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis

from proof.power import Disk
from proof.power_loss import cut_power, kill_during_stall
from stack.redis_server import RedisServer
from tests.conftest import MakeRedis
from tests.faults.conftest import disk_of
from tests.waiting import eventually
from tests.worker.receiving import Caller, ServeReceiver, entries
from worker.streams import EVENTS

EVENT = b'[{"id": "8a1f"}]'


@pytest.fixture
def traceable(private_redis: MakeRedis) -> None:
    disk_of(private_redis()).detach()


def test_a_power_cut_costs_nothing_that_was_answered_200(
    serve: ServeReceiver, private_redis: MakeRedis, put_on_disk: Callable[[RedisServer], Disk]
) -> None:
    server = private_redis()
    caller = serve(server.url)
    disk = put_on_disk(server)
    bodies: list[list[bytes]] = [[], [], []]
    posting = [threading.Thread(target=post_until_refused, args=(caller, found)) for found in bodies]
    for thread in posting:
        thread.start()
    eventually(lambda: assert_each_has(bodies, 20))

    disk.cut_power()
    for thread in posting:
        thread.join()
    server.start()

    answered = {body for found in bodies for body in found}
    with redis.Redis.from_url(server.url) as client:
        kept = {fields[b"body"] for fields in entries(client, EVENTS)}
    assert len(answered) >= 60
    assert answered <= kept
    eventually(lambda: assert_taken(caller))


def post_until_refused(caller: Caller, answered: list[bytes]) -> None:
    """Post one event after the other; remember those that were answered 200."""
    for number in range(100_000):
        body = b'[{"id": "%d-%d"}]' % (threading.get_ident(), number)
        if caller.post_events(body).status != 200:
            return
        answered.append(body)


def assert_each_has(lists: list[list[bytes]], count: int) -> None:
    assert min(map(len, lists)) >= count


def assert_taken(caller: Caller) -> None:
    assert caller.post_events(EVENT).status == 200


def test_a_stalled_fsync_is_answered_503_and_costs_nothing_that_was_answered_200(
    serve: ServeReceiver, private_redis: MakeRedis, put_on_disk: Callable[[RedisServer], Disk]
) -> None:
    server = private_redis()
    caller = serve(server.url)
    disk = put_on_disk(server)
    assert_taken(caller)

    disk.slow_down()
    assert caller.post_events(EVENT).status == 503
    assert disk.is_stuck
    disk.recover()
    eventually(lambda: assert_taken(caller))
    with redis.Redis.from_url(server.url) as client:
        count = len(entries(client, EVENTS))
    assert count >= 2, "what was answered 503 may be there as well; a repetition is a duplicate"

    disk.slow_down()
    assert caller.post_events(EVENT).status == 503
    disk.cut_power()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert len(entries(client, EVENTS)) == count


def test_a_slow_disk_only_makes_answers_slow(
    serve: ServeReceiver, private_redis: MakeRedis, put_on_disk: Callable[[RedisServer], Disk]
) -> None:
    server = private_redis()
    caller = serve(server.url, redis_timeout=5)
    put_on_disk(server).slow_down(0.1)
    for _ in range(3):
        assert_taken(caller)


@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("stall_seconds", [0.0, 0.5])
def test_with_appendfsync_always_a_power_cut_loses_no_acknowledged_entry(
    stall_seconds: float, private_redis: MakeRedis
) -> None:
    outcome = cut_power(private_redis(), load_seconds=0.7, stall_seconds=stall_seconds, clients=4)
    assert outcome.acknowledged > 0
    assert outcome.lost == 0


@pytest.mark.usefixtures("traceable")
def test_with_appendfsync_everysec_a_power_cut_loses_the_last_entries_and_no_earlier_one(
    private_redis: MakeRedis,
) -> None:
    """That this loses something shows that the tests above could see it, and why such a Redis is refused."""
    outcome = cut_power(private_redis(appendfsync="everysec"), load_seconds=1.2, stall_seconds=0.3, clients=4)
    assert 0 < outcome.lost < outcome.acknowledged
    assert outcome.only_the_last


@pytest.mark.usefixtures("traceable")
def test_with_appendfsync_always_kill_9_under_a_stalled_disk_loses_nothing(private_redis: MakeRedis) -> None:
    assert kill_during_stall(private_redis(), load_seconds=0.5, stall_seconds=0.3, clients=4).lost == 0
