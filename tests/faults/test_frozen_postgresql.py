"""PostgreSQL stands still, and refuses and closes nothing, while beat asks for maintenance and mailers track."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psutil
import pytest
import redis
from celery import Celery
from sqlalchemy import Engine, text

from db.allowance import ask
from db.engine import create_engine
from db.migrate import upgrade
from proof.proxy import Proxies
from stack.postgres_server import PostgresServer
from tasks import presence
from tasks.context import Context
from tests.acceptance.conftest import StartProgram
from tests.faults.network import forget_connections, through
from tests.faults.programs import assert_tracked, start_worker, tracked
from tests.waiting import eventually
from worker.app import app
from worker.errors import DatabaseAway
from worker.queues import TRACKING
from worker.streams import MEASURED, MESSAGES
from worker.telemetry import metrics

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

TRACKINGS = 20


class Away(presence.Presence):
    """A PostgreSQL that does not answer."""

    def require(self, engine: Engine) -> None:
        raise DatabaseAway


@pytest.fixture
def without_postgresql(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Have each task find a PostgreSQL that does not answer. Whichever uses it all the same meets another error."""
    away = replace(ctx, presence=Away(), engine=create_engine("postgresql://nobody@127.0.0.1:1/none"))
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", ctx.settings.database_url.get_secret_value())
    for module in ("counting", "drain", "measuring", "parked", "purging", "rewrites", "track"):
        monkeypatch.setattr(f"tasks.{module}.context", lambda: away)
    return away


def test_silence_is_noticed_soon_and_postgresql_is_then_left_alone_for_a_while(
    proxies: Proxies, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasks.presence")
    monkeypatch.setattr(presence, "LONGEST_ANSWER", timedelta(seconds=0.2))
    monkeypatch.setattr(presence, "STANDS", timedelta(0))
    proxy, url = through(proxies, database_url)
    engine = create_engine(url, for_batches=True)
    known = presence.Presence()
    known.require(engine)
    forget_connections(proxies, proxy)
    with pytest.raises(DatabaseAway) as caught:
        known.require(engine)
    assert "PostgreSQL did not answer for 0.2 seconds" in str(caught.value.__cause__)
    with pytest.raises(DatabaseAway):
        known.require(engine)  # though it would have answered
    assert proxy.connections == 1
    known._pauses_until = 0.0
    known.require(engine)
    assert proxy.connections == 2
    away, back = (record.message for record in caplog.records)
    assert away.startswith("PostgreSQL cannot be used; tasks are left for later: OperationalError")
    assert back == "PostgreSQL can be used again"
    engine.dispose()


def test_one_that_takes_no_writes_is_left_alone_and_its_connection_is_not_used_again(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text("SET default_transaction_read_only = on"))  # as if a failover had left it on a standby
    known = presence.Presence()
    with pytest.raises(DatabaseAway):
        known.require(ctx.engine)
    assert "InternalError: (ReadOnlySqlTransaction) it takes no writes (25006)" in caplog.text
    known._pauses_until = 0.0
    known.require(ctx.engine)


def test_an_answer_stands_for_a_moment_so_that_short_tasks_do_not_each_ask(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("tasks.presence.ask", lambda *about: asked.append(about))
    known = presence.Presence()
    known.require(engine)
    known.require(engine)
    assert len(asked) == 1
    known._stands_until = 0.0
    known.require(engine)
    assert len(asked) == 2


def test_a_question_leaves_a_connection_as_it_was(engine: Engine) -> None:
    with engine.begin() as conn:
        usual = conn.connection.driver_connection.longest_silence  # type: ignore[union-attr]
    ask(engine, timedelta(seconds=1))
    with engine.begin() as conn:
        driver: Any = conn.connection.driver_connection
        assert (driver.longest_silence, driver.autocommit) == (usual, False)


@pytest.mark.parametrize(
    "task",
    ["count_campaigns", "detect_rewrites", "drain_events", "purge", "purge_archive", "sweep_parked", "watch_native"],
)
def test_maintenance_is_left_for_later(without_postgresql: Context, task: str) -> None:
    with pytest.raises(DatabaseAway):
        app.tasks[task].run()
    assert DatabaseAway in app.tasks[task].throws  # or each would be told with a traceback


def test_trackings_move_to_their_stream_at_once(without_postgresql: Context, redis_client: redis.Redis) -> None:
    assert app.tasks["track_message"].run("<a@example.com>", 7) == "handed to the stream"
    assert redis_client.xlen(MESSAGES) == 1


def test_what_redis_tells_is_measured(without_postgresql: Context, redis_client: redis.Redis) -> None:
    assert app.tasks["measure"].run().startswith("measured ")
    measured = str(redis_client.get(MEASURED))
    assert metrics.QUEUED.name in measured
    assert metrics.MEASURED_AT.name not in measured


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Stop all of the server's processes, those of its connections included; they go on afterwards."""
    postmaster = psutil.Process(server.pid)
    stopped = [postmaster]
    postmaster.send_signal(signal.SIGSTOP)  # first, so that it starts no more
    for process in postmaster.children():
        process.send_signal(signal.SIGSTOP)
        stopped.append(process)
    try:
        yield
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)


def test_while_postgresql_is_frozen_maintenance_holds_up_neither_trackings_nor_what_beat_asks_for(
    start: StartProgram, private_postgres: Any, redis_url: str, redis_client: redis.Redis, longer: bool
) -> None:
    if not longer:
        pytest.skip("What is at work when it freezes waits for half a minute: --longer")
    server = private_postgres()
    upgrade(server.url)
    engine = create_engine(server.url)
    start_worker(start, server.url, redis_url)
    start("beat", attribution_database_url=server.url, attribution_redis_url=redis_url)
    mailer = Celery(broker=redis_url)
    mailer.send_task("track_message", args=["<first@example.com>", 7], queue=TRACKING)
    eventually(lambda: assert_tracked(engine, "<first@example.com>"), within=30)
    eventually(lambda: assert_measured(redis_client), within=30)
    with frozen(server):
        for number in range(TRACKINGS):
            mailer.send_task("track_message", args=[f"<m{number}@example.com>", 7], queue=TRACKING)
        # Alone, each would hold one of the pool's two processes for 25 seconds: more than four minutes.
        eventually(lambda: assert_on_the_stream(redis_client), within=60)
        for _ in range(2):
            redis_client.delete(MEASURED)
            eventually(lambda: assert_measured(redis_client), within=40)
    names = {f"<m{number}@example.com>" for number in range(TRACKINGS)}
    eventually(lambda: assert_all_tracked(engine, names), within=60)
    engine.dispose()


def assert_measured(client: redis.Redis) -> None:
    assert client.exists(MEASURED)


def assert_on_the_stream(client: redis.Redis) -> None:
    assert client.xlen(MESSAGES) >= TRACKINGS


def assert_all_tracked(engine: Any, names: set[str]) -> None:
    assert names <= tracked(engine)
