"""A worker to hurt, and what is asked of it afterwards."""

from __future__ import annotations

from typing import Any

import redis
from sqlalchemy import Engine, text

from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import Program
from tests.db.rows import stored
from tests.tasks.streams import backlog
from tests.waiting import eventually


def start_worker(start: StartProgram, database_url: str, redis_url: str, **settings: Any) -> Program:
    """Start a worker that claims after a second, and wait until it is ready."""
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
    """Assert that nothing waits; where the drain has not come so far as to make its group, it does."""
    try:
        assert backlog(client) == (0, 0)
    except redis.exceptions.ResponseError as error:
        raise AssertionError(str(error)) from error


def assert_tracked(engine: Engine, internet_message_id: str) -> None:
    assert internet_message_id in tracked(engine)


def tracked(engine: Engine) -> set[str]:
    """Return the Message-IDs that are tracked."""
    with engine.begin() as conn:
        return set(conn.execute(text("SELECT internet_message_id FROM azure_message_tracking")).scalars())


def quarantined(engine: Engine) -> list[tuple[str, bytes]]:
    """Return reason and bytes of all that is in quarantine, in the order in which it came."""
    with engine.begin() as conn:
        rows = conn.execute(text("SELECT reason, body FROM attribution_quarantine ORDER BY id"))
        return [(row.reason, bytes(row.body)) for row in rows]


def assert_quarantined(engine: Engine, count: int) -> None:
    assert len(quarantined(engine)) == count


def assert_waits_for_a_lock(engine: Engine) -> None:
    """Assert that somebody in this database waits for a lock."""
    _assert_somebody(engine, "wait_event_type = 'Lock'")


def assert_pauses_in_a_transaction(engine: Engine) -> None:
    """Assert that somebody in this database is in a transaction whose last statement is over."""
    _assert_somebody(engine, "state = 'idle in transaction'")


def _assert_somebody(engine: Engine, does: str) -> None:
    doing = text(f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {does}")
    with engine.begin() as conn:
        assert conn.execute(doing).scalar_one() > 0
