"""Connections that are silently gone: both ends think they live, and nothing comes through any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
import sqlalchemy as sa
from celery import Celery
from sqlalchemy import Engine

from db import deadline
from db.engine import create_engine
from db.errors import Fault, fault_of
from proof.proxy import Proxies
from tests.acceptance.conftest import StartProgram
from tests.faults.network import forget_connections, through, wait_until_connected
from tests.faults.programs import assert_empty, assert_stored, assert_tracked, start_worker
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events
from tests.waiting import eventually
from tests.worker.receiving import Caller, ServeReceiver
from worker.queues import TRACKING

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

#: Seconds in which each side must have noticed.
NOTICED = 60.0


def assert_taken(caller: Caller) -> None:
    assert caller.post_events(b"[]").status == 200


def test_the_receiver_answers_503_and_connects_anew(serve: ServeReceiver, proxies: Proxies, redis_url: str) -> None:
    proxy, url = through(proxies, redis_url)
    caller = serve(url)
    assert_taken(caller)
    assert forget_connections(proxies, proxy) >= 1
    assert caller.post_events(b"[]").status == 503
    eventually(lambda: assert_taken(caller))


def test_a_worker_whose_connections_are_all_silently_gone_goes_on_within_a_minute(
    start: StartProgram,
    proxies: Proxies,
    database_url: str,
    redis_url: str,
    redis_client: redis.Redis,
    engine: Engine,
) -> None:
    to_redis, proxied_redis_url = through(proxies, redis_url)
    to_postgres, proxied_database_url = through(proxies, database_url)
    start_worker(start, proxied_database_url, proxied_redis_url, attribution_statement_timeout=1)
    push_events(redis_client, body_of(engagement("before")))
    eventually(lambda: assert_stored(engine, {"before"}))
    wait_until_connected(to_postgres)

    assert forget_connections(proxies, to_redis) >= 2, "Celery's and the drain's"
    assert forget_connections(proxies, to_postgres) >= 1
    push_events(redis_client, body_of(engagement("after")))

    eventually(lambda: assert_stored(engine, {"before", "after"}), within=NOTICED)
    eventually(lambda: assert_empty(redis_client), within=NOTICED)


def test_the_celery_door_of_such_a_worker_opens_again_within_a_minute(
    start: StartProgram, proxies: Proxies, database_url: str, redis_url: str, engine: Engine, longer: bool
) -> None:
    """It is no durable door: the next task goes to the dead connection, and is lost there. Later ones run."""
    if not longer:
        pytest.skip("Celery takes half a minute to notice: --longer")
    to_redis, proxied_redis_url = through(proxies, redis_url)
    start_worker(start, database_url, proxied_redis_url, attribution_drain_processes=0)
    assert forget_connections(proxies, to_redis) >= 1
    mailer = Celery(broker=redis_url)
    eventually(lambda: assert_task_runs(mailer, engine), within=NOTICED, every=1)


def assert_task_runs(mailer: Celery, engine: Engine) -> None:
    mailer.send_task("track_message", args=["<after@example.com>", 7], queue=TRACKING)
    assert_tracked(engine, "<after@example.com>")


def _query(engine: Engine) -> None:
    with engine.connect() as conn:
        conn.execute(sa.text("SELECT 1"))


def _commit(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("SELECT 1"))


@pytest.mark.parametrize("use", [_query, _commit])
def test_postgresql_that_says_nothing_is_given_up_and_the_next_connection_is_new(
    use: Callable[[Engine], None], proxies: Proxies, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.MARGIN", timedelta(seconds=0.2))
    proxy, url = through(proxies, database_url)
    engine = create_engine(url, statement_timeout=timedelta(seconds=0.3), for_batches=True)
    use(engine)
    forget_connections(proxies, proxy)
    with pytest.raises(sa.exc.OperationalError, match=r"PostgreSQL did not answer for 0\.5 seconds") as caught:
        use(engine)
    assert fault_of(caught.value) is Fault.TRANSIENT
    use(engine)
    assert proxy.connections == 2
    engine.dispose()


def test_a_commit_without_an_answer_is_given_up_as_well(
    proxies: Proxies, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.MARGIN", timedelta(seconds=0.2))
    proxy, url = through(proxies, database_url)
    engine = create_engine(url, statement_timeout=timedelta(seconds=0.3), for_batches=True)
    with engine.connect() as conn:
        conn.execute(sa.text("SELECT 1"))
        forget_connections(proxies, proxy)
        with pytest.raises(sa.exc.OperationalError, match="did not answer"):
            conn.commit()
    engine.dispose()


def test_a_statement_may_take_as_long_as_its_limit_and_longer_where_the_address_says_so(database_url: str) -> None:
    """PostgreSQL's own word comes first: the deadline is for its silence."""
    assert timedelta(seconds=5) <= deadline.MARGIN
    engine = create_engine(database_url, statement_timeout=timedelta(seconds=0.2))
    with engine.connect() as conn, pytest.raises(sa.exc.OperationalError, match="statement timeout"):
        conn.execute(sa.text("SELECT pg_sleep(30)"))
    engine.dispose()
    patient = create_engine(f"{database_url}?options=-c%20statement_timeout%3D0", statement_timeout=timedelta(0.0001))
    with patient.connect() as conn:
        assert conn.connection.driver_connection.longest_silence is None  # type: ignore[union-attr]
    patient.dispose()


def test_migrations_are_waited_for(database_url: str) -> None:
    engine = create_engine(database_url, statement_timeout=None)
    with engine.connect() as conn:
        assert conn.connection.driver_connection.longest_silence is None  # type: ignore[union-attr]
    engine.dispose()
