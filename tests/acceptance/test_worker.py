"""The Celery worker and its drain processes, killed, starved and cut off."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import Celery
from sqlalchemy import Engine

from db.engine import create_engine
from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import Program, alive
from tests.conftest import MakeRedis
from tests.db.rows import stored
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, push_events, push_messages
from tests.waiting import eventually
from worker.private_task import HIDDEN
from worker.queues import TRACKING
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, MESSAGES


@pytest.fixture
def engine(database_url: str) -> Any:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def start_worker(start: StartProgram, database_url: str, redis_url: str, **settings: Any) -> Program:
    worker = start(
        "worker",
        attribution_database_url=database_url,
        attribution_redis_url=redis_url,
        **{"attribution_claim_after": 1, **settings},
    )
    eventually(lambda: assert_said(worker, "ready."), within=30)
    return worker


def assert_said(program: Program, words: str) -> None:
    assert words in program.log, program.log[-3000:]


def assert_stored(engine: Engine, event_ids: set[str]) -> None:
    assert stored(engine).keys() == event_ids


def assert_empty(client: redis.Redis) -> None:
    assert backlog(client) == (0, 0)


def tracked(engine: Engine) -> set[str]:
    with engine.begin() as conn:
        return set(conn.exec_driver_sql("SELECT internet_message_id FROM azure_message_tracking").scalars())


def mailer(redis_url: str) -> Celery:
    app = Celery(broker=redis_url)
    app.conf.broker_transport_options = {"socket_timeout": 3, "socket_connect_timeout": 2}
    return app


def test_draining_needs_no_beat_and_no_celery_message(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    start_worker(start, database_url, redis_url)
    push_events(redis_client, body_of(engagement("e1")))
    eventually(lambda: assert_stored(engine, {"e1"}))
    eventually(lambda: assert_empty(redis_client))


def test_the_celery_door_tracks_and_releases_and_shows_nobody_its_arguments(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    worker = start_worker(start, database_url, redis_url, attribution_log_level="DEBUG")
    push_events(redis_client, body_of(engagement("e1", internet_message_id="<Private.Person@mail.example.com>")))
    eventually(lambda: assert_stored(engine, {"e1"}))
    app = mailer(redis_url)
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        watcher = app.events.Receiver(connection, handlers={"*": events.append})
        watching = threading.Thread(target=_watch, args=(watcher,), daemon=True)
        watching.start()
        eventually(lambda: _assert_seen(events, "worker-heartbeat", 1), within=20)
        arguments = [[{"internet_message_id": "<Private.Person@mail.example.com>", "campaign_id": 7}]]
        app.send_task("track_messages", args=arguments, queue=TRACKING)
        app.send_task("track_message", args=["<Other.Person@mail.example.com>", 8], queue=TRACKING)
        app.send_task("track_message", kwargs={"wrong": "Third.Person@example.com"}, queue=TRACKING)
        app.send_task("no_such_task", args=["Fourth.Person@example.com"], queue=TRACKING)
        eventually(lambda: _assert_seen(events, "task-succeeded", 3), within=20)
        eventually(lambda: _assert_seen(events, "task-failed", 1), within=20)
        watcher.should_stop = True
        watching.join(10)
    assert {event["args"] for event in events if event["type"] == "task-received"} == {HIDDEN}
    assert stored(engine)["e1"] == ("attributed", 7, None, "internet_message_id")
    assert tracked(engine) == {"<Private.Person@mail.example.com>", "<Other.Person@mail.example.com>"}
    results = sorted(event["result"] for event in events if event["type"] == "task-succeeded")
    assert results == ["'quarantined 1'", "'released 1, tracked 1'", "'tracked 1'"]
    for shown in (*map(str, events), worker.log):
        assert "Person" not in shown


def test_a_drain_process_killed_is_replaced_and_what_it_held_is_claimed(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    worker = start_worker(start, database_url, redis_url)
    (drain,) = eventually(lambda: _one(worker.drain_pids()))
    os.kill(drain, signal.SIGSTOP)
    push_events(redis_client, *(body_of(engagement(f"e{n}")) for n in range(20)))
    os.kill(drain, signal.SIGKILL)
    eventually(lambda: assert_stored(engine, {f"e{n}" for n in range(20)}))
    (successor,) = eventually(lambda: _one(worker.drain_pids()))
    assert successor != drain
    eventually(lambda: assert_empty(redis_client))


def test_drain_processes_do_not_outlive_a_killed_worker(start: StartProgram, database_url: str, redis_url: str) -> None:
    worker = start_worker(start, database_url, redis_url, attribution_drain_processes=2)
    drains = eventually(lambda: _count(worker.drain_pids(), 2))
    worker.kill()
    eventually(lambda: _none_alive(drains))


def test_a_worker_that_is_stopped_finishes_and_leaves_nothing_running(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    StreamConsumer(connect(redis_url), (MESSAGES, EVENTS)).create_group()  # a slow drain may never come to make it
    worker = start_worker(start, database_url, redis_url)
    drains = eventually(lambda: _one(worker.drain_pids()))
    children = worker.children()
    push_events(redis_client, *(body_of(*(engagement(f"e{n}-{m}") for m in range(20))) for n in range(50)))
    assert worker.stop() == 0
    assert not [pid for pid in (*drains, *children) if alive(pid)]
    # Whatever it had read it has finished; the rest waits for the next worker.
    remaining, pending = backlog(redis_client)
    assert pending == 0
    assert len(stored(engine)) == (50 - remaining) * 20


def test_the_worker_outlives_a_redis_killed_under_unacknowledged_messages(
    start: StartProgram, database_url: str, private_redis: MakeRedis, engine: Engine
) -> None:
    server = private_redis()
    worker = start_worker(start, database_url, server.url, attribution_drain_processes=0)
    with engine.connect() as blocker:
        blocker.exec_driver_sql("LOCK azure_message_tracking IN ACCESS EXCLUSIVE MODE")
        app = mailer(server.url)
        for number in range(3):
            app.send_task("track_message", args=[f"<m{number}@example.com>", 7], queue=TRACKING)
        client = redis.Redis.from_url(server.url)
        eventually(lambda: _assert_unacknowledged(client))
        server.kill()
        server.start()
    eventually(lambda: assert_said(worker, "Connected to redis"), within=20)
    app.send_task("track_message", args=["<after@example.com>", 7], queue=TRACKING)
    eventually(lambda: _assert_contains(tracked(engine), "<after@example.com>"), within=30)
    assert worker.process.poll() is None


def test_draining_goes_on_while_redis_is_full_and_celery_recovers(
    start: StartProgram, database_url: str, private_redis: MakeRedis, engine: Engine
) -> None:
    server = private_redis(maxmemory="12mb")
    client = redis.Redis.from_url(server.url, protocol=2)
    StreamConsumer(connect(server.url), (MESSAGES, EVENTS)).create_group()  # any drain that ever ran has made it
    worker = start_worker(start, database_url, server.url, attribution_drain_processes=0)
    count = _fill(client)
    assert count > 100
    worker.end()
    # A worker that starts while Redis refuses every Celery message: only the drain can make room.
    worker = start("worker", attribution_database_url=database_url, attribution_redis_url=server.url)

    eventually(lambda: assert_empty(client), within=40)
    assert len(stored(engine)) == count
    assert worker.process.poll() is None, worker.log[-3000:]
    mailer(server.url).send_task("track_message", args=["<after@example.com>", 7], queue=TRACKING)
    eventually(lambda: _assert_contains(tracked(engine), "<after@example.com>"), within=30)


def test_a_redis_killed_with_entries_on_it_has_them_all_when_it_is_back(
    start: StartProgram, database_url: str, private_redis: MakeRedis, engine: Engine
) -> None:
    server = private_redis()
    client = redis.Redis.from_url(server.url, protocol=2)
    worker = start_worker(start, database_url, server.url)
    acknowledged: set[str] = set()
    for number in range(300):
        push_events(client, body_of(engagement(f"e{number}")))
        acknowledged.add(f"e{number}")
        if number in (100, 200):
            server.kill()
            server.start()
            client = redis.Redis.from_url(server.url, protocol=2)
    eventually(lambda: assert_stored(engine, acknowledged), within=30)
    eventually(lambda: assert_empty(client), within=20)
    assert worker.process.poll() is None


def test_a_postgresql_restarted_under_load_costs_no_event(
    start: StartProgram, redis_url: str, redis_client: redis.Redis, private_postgres: Any
) -> None:
    from db.migrate import upgrade

    server = private_postgres()
    upgrade(server.url)
    start_worker(start, server.url, redis_url)
    for number in range(400):
        push_events(redis_client, body_of(*(engagement(f"e{number}-{part}") for part in range(5))))
        if number == 100:
            server.kill()
            server.start()
        if number == 250:
            server.restart()
    push_messages(redis_client, {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7})
    engine = create_engine(server.url)
    expected = {f"e{number}-{part}" for number in range(400) for part in range(5)}
    eventually(lambda: assert_stored(engine, expected), within=45)
    eventually(lambda: _assert_all_attributed(engine), within=20)
    eventually(lambda: assert_empty(redis_client), within=20)
    engine.dispose()


def test_the_worker_refuses_a_redis_that_may_lose_data_and_says_why(
    start: StartProgram, database_url: str, private_redis: MakeRedis
) -> None:
    server = private_redis(appendonly="no")
    worker = start("worker", attribution_database_url=database_url, attribution_redis_url=server.url)
    assert worker.process.wait(30) != 0
    assert "appendonly is 'no'" in worker.log
    assert "Traceback" not in worker.log


def test_the_worker_refuses_a_database_without_our_tables_and_says_what_to_do(
    start: StartProgram, empty_database_url: str, redis_url: str
) -> None:
    worker = start("worker", attribution_database_url=empty_database_url, attribution_redis_url=redis_url)
    assert worker.process.wait(30) != 0
    assert "attribution migrate" in worker.log
    assert "Traceback" not in worker.log


def _fill(client: redis.Redis) -> int:
    """Push events until Redis refuses one; return how many it took."""
    for count in range(100_000):
        try:
            push_events(client, body_of(engagement(f"e{count}", userAgent="x" * 4000)))
        except redis.exceptions.OutOfMemoryError:
            return count
    raise AssertionError("this Redis has no limit")


def _watch(watcher: Any) -> None:
    while not watcher.should_stop:
        with suppress(TimeoutError):
            watcher.capture(limit=None, timeout=1, wakeup=False)


def _assert_seen(events: list[dict[str, Any]], kind: str, count: int) -> None:
    assert sum(event["type"] == kind for event in events) >= count


def _one(pids: list[int]) -> list[int]:
    return _count(pids, 1)


def _count(pids: list[int], number: int) -> list[int]:
    assert len(pids) == number
    return pids


def _none_alive(pids: list[int]) -> None:
    assert not [pid for pid in pids if alive(pid)]


def _assert_unacknowledged(client: redis.Redis) -> None:
    assert client.hlen("unacked") > 0


def _assert_contains(found: set[str], wanted: str) -> None:
    assert wanted in found


def _assert_all_attributed(engine: Engine) -> None:
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}
