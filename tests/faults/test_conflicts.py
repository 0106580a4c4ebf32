"""Other sessions of PostgreSQL are in the way: the whole batch is tried again, and nothing is quarantined for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy import Engine

from db.errors import sqlstate_of
from tasks.context import Context, make_context
from tests.db.rows import stored
from tests.faults.programs import assert_waits_for_a_lock, quarantined
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events
from tests.waiting import eventually
from worker.settings import WorkerSettings

IDS = [f"e{number}" for number in range(30)]


@pytest.fixture
def impatient(settings: WorkerSettings, database_url: str) -> Iterator[Context]:
    """A pipeline that waits three seconds for a lock, and looks for a deadlock when a test has had time to make it."""
    url = f"{database_url}?options=-c%20lock_timeout%3D3s%20-c%20deadlock_timeout%3D1500ms"
    changed: Any = {"database_url": type(settings.database_url)(url)}
    context = make_context(settings.model_copy(update=changed))
    context.consumer.create_group()
    yield context
    context.engine.dispose()


@pytest.fixture
def states(impatient: Context) -> list[str | None]:
    """SQLSTATEs of the errors that PostgreSQL has answered the pipeline with."""
    found: list[str | None] = []

    def note(context: Any) -> None:
        found.append(context.original_exception.sqlstate)

    sa.event.listen(impatient.engine, "handle_error", note)
    return found


def assert_made_good(ctx: Context, client: redis.Redis) -> None:
    assert stored(ctx.engine).keys() == set(IDS)
    assert quarantined(ctx.engine) == []
    assert backlog(client) == (0, 0)


def test_a_lock_that_is_not_had_in_time(
    impatient: Context, states: list[str | None], redis_client: redis.Redis, database_url: str
) -> None:
    push_events(redis_client, body_of(*map(engagement, IDS)))
    with psycopg.connect(database_url) as foreign:
        foreign.execute("LOCK TABLE azure_engagement_events IN ACCESS EXCLUSIVE MODE")
        draining = threading.Thread(target=drain, args=(impatient,))
        draining.start()
        eventually(lambda: assert_seen(states, "55P03"))
    draining.join(30)
    assert_made_good(impatient, redis_client)


def assert_seen(states: list[str | None], state: str) -> None:
    assert state in states


def test_a_deadlock_with_a_foreign_writer(
    impatient: Context, states: list[str | None], redis_client: redis.Redis, database_url: str, engine: Engine
) -> None:
    """The foreign writer holds the row that the batch writes last, and then wants one that the batch has written.

    The pipeline looks for deadlocks, the foreign session does not: so the batch is the one that is ended.
    """
    push_events(redis_client, body_of(*map(engagement, IDS)))
    drain(impatient)
    keys = sorted(key_of(engine, event_id) for event_id in IDS)
    with engine.begin() as conn:
        conn.execute(sa.text("DELETE FROM azure_engagement_events"))
    push_events(redis_client, body_of(*map(engagement, IDS)))
    with psycopg.connect(database_url) as foreign:
        foreign.execute("SET deadlock_timeout = '1h'")
        insert(foreign, keys[-1])
        draining = threading.Thread(target=drain, args=(impatient,))
        draining.start()
        eventually(lambda: assert_waits_for_a_lock(engine))
        insert(foreign, keys[0])  # waits for the batch, which waits for us, until the batch is ended
        foreign.rollback()
    draining.join(30)
    assert states == ["40P01"]
    assert_made_good(impatient, redis_client)


def key_of(engine: Engine, event_id: str) -> bytes:
    with engine.begin() as conn:
        statement = sa.text("SELECT event_key FROM azure_engagement_events WHERE event_id = :id")
        key: bytes = conn.execute(statement, {"id": event_id}).scalar_one().bytes
        return key


def insert(foreign: psycopg.Connection[Any], key: bytes) -> None:
    foreign.execute(
        "INSERT INTO azure_engagement_events (event_key, engagement_type, event_timestamp, state, next_attempt_at)"
        " VALUES (encode(%s, 'hex')::uuid, 'view', now(), 'parked', now())",
        [key],
    )


#: Ends the first transactions that write an event, each with the error asked for; a sequence is not rolled back.
FAILING = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail AFTER INSERT ON azure_engagement_events FOR EACH STATEMENT EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03", "57014", "53300", "53100", "25006", "57P01", "58030"])
def test_whatever_passes_by_itself(
    state: str, impatient: Context, states: list[str | None], redis_client: redis.Redis
) -> None:
    with impatient.engine.begin() as conn:
        conn.execute(sa.text(FAILING.format(state=state)))
    push_events(redis_client, *(body_of(engagement(each)) for each in IDS))
    drained = drain(impatient)
    assert states[:2] == [state, state]
    assert drained.parked == len(IDS), "all of them, by the one attempt that went through"
    assert_made_good(impatient, redis_client)


def test_a_serialization_failure_under_a_stricter_isolation(
    settings: WorkerSettings, redis_client: redis.Redis, database_url: str
) -> None:
    """An address may ask for more isolation than we need; its failures pass like any other."""
    url = f"{database_url}?options=-c%20default_transaction_isolation%3Dserializable"
    changed: Any = {"database_url": type(settings.database_url)(url)}
    context = make_context(settings.model_copy(update=changed))
    context.consumer.create_group()
    found: list[str | None] = []
    sa.event.listen(context.engine, "handle_error", lambda error: found.append(sqlstate_of(error.sqlalchemy_exception)))
    failed = threading.Event()

    def interfere(conn: sa.Connection) -> None:
        """Read what the batch writes and write what it reads, in between, and commit first."""
        if failed.is_set():
            return
        failed.set()
        with psycopg.connect(database_url) as foreign:
            foreign.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            foreign.execute("SELECT count(*) FROM azure_engagement_events").fetchone()
            foreign.execute(
                "INSERT INTO azure_message_tracking (internet_message_id, campaign_id)"
                " VALUES ('<c42@mail.example.com>', 7)"
            )

    sa.event.listen(context.engine, "commit", interfere)
    push_events(redis_client, body_of(*map(engagement, IDS)))
    drain(context)
    assert stored(context.engine).keys() == set(IDS)
    assert {state for state, *_ in stored(context.engine).values()} == {"attributed"}
    assert "40001" in found
    context.engine.dispose()
