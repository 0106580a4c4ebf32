"""PostgreSQL's primary dies under load and its standby takes over: what was acknowledged is there, and counted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from db.engine import create_engine
from db.migrate import upgrade
from stack.postgres_server import PostgresServer
from stack.services import remove
from stack.state import StateFolder
from tasks import patience
from tasks.context import Context, make_context
from tests.acceptance.conftest import StartProgram
from tests.conftest import MakePostgres
from tests.db.rows import stored
from tests.faults.programs import assert_empty, start_worker
from tests.faults.standby import Standby, either, make_standby
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages
from tests.waiting import eventually
from worker.settings import WorkerSettings

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7}


@pytest.fixture
def pair(
    private_postgres: MakePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresServer, Standby]]:
    """A migrated primary, and a standby for which each of its commits waits."""
    primary = private_postgres()
    upgrade(primary.url)
    folder = tmp_path_factory.mktemp("standby")
    state = StateFolder(folder)
    try:
        with state.owned():
            standby = make_standby(state, primary)
            try:
                yield primary, standby
            finally:
                standby.stop()
    finally:
        remove(folder)


class Load:
    """Pushes events, five a body, until it is stopped."""

    def __init__(self, client: redis.Redis) -> None:
        self.pushed: set[str] = set()
        self._client = client
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _push(self) -> None:
        number = 0
        while not self._stopping.wait(0.005):
            ids = [f"e{number}-{part}" for part in range(5)]
            push_events(self._client, body_of(*map(engagement, ids)))
            self.pushed.update(ids)
            number += 1


def count(engine: sa.Engine) -> int:
    return len(stored(engine))


def test_the_standby_takes_over_under_load_and_nothing_is_lost(
    start: StartProgram, pair: tuple[PostgresServer, Standby], redis_url: str, redis_client: redis.Redis
) -> None:
    primary, standby = pair
    start_worker(start, either(primary, standby), redis_url)
    push_messages(redis_client, TRACKING)
    load = Load(redis_client)
    try:
        before = create_engine(primary.url)
        eventually(lambda: assert_more_than(count(before), 200), within=20)
        before.dispose()
        primary.kill()
        standby.promote()
        pushed = len(load.pushed)
        eventually(lambda: assert_more_than(len(load.pushed), pushed + 200), within=20)
    finally:
        load.stop()
    after = create_engine(standby.url)
    # What had been acknowledged before is on no stream any more: only the standby can have it.
    eventually(lambda: assert_same(stored(after).keys(), load.pushed), within=45)
    eventually(lambda: assert_empty(redis_client), within=20)
    assert {state for state, *_ in stored(after).values()} == {"attributed"}
    after.dispose()


def assert_more_than(found: int, least: int) -> None:
    assert found > least


def assert_same(found: object, expected: object) -> None:
    assert found == expected


def test_without_its_standby_nothing_is_acknowledged_and_all_goes_on_when_it_is_back(
    pair: tuple[PostgresServer, Standby],
    redis_url: str,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A COMMIT then waits, and is no COMMIT yet. The drain gives up waiting; the events are safe on their stream."""
    monkeypatch.setattr("db.engine.MARGIN", timedelta(seconds=0.5))
    monkeypatch.setattr(patience, "PATIENCE", timedelta(seconds=0.5))
    primary, standby = pair
    settings: dict[str, Any] = {"database_url": either(primary, standby), "redis_url": redis_url, "claim_after": 0.001}
    ctx = make_context(WorkerSettings(statement_timeout=timedelta(seconds=1), **settings))
    push_events(redis_client, body_of(engagement("e1")))
    standby.stop()
    with pytest.raises(sa.exc.OperationalError, match=r"did not answer|lock timeout"):
        drain(ctx)
    assert backlog(redis_client) == (1, 1)
    standby.start()
    eventually(lambda: assert_drained(ctx, redis_client), within=20)
    assert stored(ctx.engine).keys() == {"e1"}
    ctx.engine.dispose()


def assert_drained(ctx: Context, client: redis.Redis) -> None:
    try:
        drain(ctx)
    except sa.exc.OperationalError as error:
        raise AssertionError("the standby is not back yet") from error
    assert_empty(client)
