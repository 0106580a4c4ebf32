"""A drain process stops in the middle of its transaction for longer than the idle time, and then goes on."""

from __future__ import annotations

import os
import signal

import psycopg
import pytest
import redis
from sqlalchemy import Engine, text

from tasks.context import Context
from tests.acceptance.conftest import StartProgram
from tests.db.rows import stored
from tests.faults.programs import assert_pauses_in_a_transaction, assert_said, assert_waits_for_a_lock, start_worker
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages
from tests.waiting import eventually

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}
IDS = [f"e{number}" for number in range(50)]


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Where twice would show: listmonk has no unique key on its views."""
    return listmonk_database_url


def test_what_a_frozen_drain_holds_is_worked_by_another_and_counted_once(
    start: StartProgram, ctx: Context, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    push_messages(redis_client, TRACKING)
    drain(ctx)
    # PostgreSQL ends a session that pauses in a transaction, here after two seconds.
    impatient = f"{database_url}?options=-c%20idle_in_transaction_session_timeout%3D2s"
    worker = start_worker(start, impatient, redis_url, attribution_claim_after=60)
    (pid,) = eventually(lambda: only(worker.drain_pids()))
    eventually(lambda: assert_said(worker, '"draining"'), within=20)  # else it might wait in looking at its tables
    with engine.connect() as blocker:
        blocker.execute(text("LOCK TABLE azure_engagement_events IN ACCESS EXCLUSIVE MODE"))
        push_events(redis_client, body_of(*(engagement(each, engagementType="view") for each in IDS)))
        eventually(lambda: assert_waits_for_a_lock(engine))
        os.kill(pid, signal.SIGSTOP)
    try:
        # Its statement goes through meanwhile: its rows are there, uncommitted, and in the other's way.
        eventually(lambda: assert_pauses_in_a_transaction(engine))
        drain(ctx)
        assert stored(engine).keys() == set(IDS)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: assert_said(worker, "Retrying"), within=20)
    push_events(redis_client, body_of(engagement("after", engagementType="view")))
    eventually(lambda: assert_stored_after(engine), within=20)
    eventually(lambda: assert_backlog(redis_client), within=20)
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}
    with psycopg.connect(database_url) as look:
        assert look.execute("SELECT count(*) FROM campaign_views").fetchone() == (len(IDS) + 1,)


def only(pids: list[int]) -> list[int]:
    assert len(pids) == 1
    return pids


def assert_stored_after(engine: Engine) -> None:
    assert stored(engine).keys() == {*IDS, "after"}


def assert_backlog(client: redis.Redis) -> None:
    assert backlog(client) == (0, 0)
