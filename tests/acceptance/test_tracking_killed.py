"""A tracking task that hangs is killed for its time, and Celery gives it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import celery
import psycopg
import pytest
import redis

from tests.acceptance.programs import ROOT, alive
from tests.processes import children_of
from tests.waiting import eventually

#: Seconds after which the worker kills the child.
_TIME_LIMIT = 4


@pytest.fixture
def worker(tmp_path: Path, database_url: str, redis_url: str, redis_client: redis.Redis) -> Iterator[int]:
    """Run a Celery worker with one child and one drain process; give its pid."""
    command = ["-A", "worker.app", "worker", "-Q", "attribution.tracking", "--concurrency=1"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *command],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONWARNINGS": "ignore",
                "ATTRIBUTION_DATABASE_URL": database_url,
                "ATTRIBUTION_REDIS_URL": redis_url,
                "ATTRIBUTION_DRAIN_PROCESSES": "1",
            },
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield process.pid
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def test_a_tracking_whose_process_hangs_until_it_is_killed_is_tracked_all_the_same(
    worker: int, database_url: str, redis_url: str
) -> None:
    with (
        psycopg.connect(database_url) as operator,
        celery.Celery("mailer", broker=redis_url, set_as_current=False) as mailer,
    ):
        operator.execute("LOCK TABLE azure_message_tracking IN SHARE MODE")
        tracking = {"internet_message_id": "<a@example.com>", "campaign_id": 7}
        mailer.send_task(
            "track_message",
            kwargs=tracking,
            queue="attribution.tracking",
            ignore_result=True,
            soft_time_limit=1,  # a mailer may say so, and a test need not wait for the worker's own
            time_limit=_TIME_LIMIT,
        )
        eventually(lambda: _assert_waits_for_a_lock(database_url), within=30)
        (child,) = (pid for pid in children_of(worker) if b"tasks.drainer" not in _command(pid))
        os.kill(child, signal.SIGSTOP)
        eventually(lambda: _assert_gone(child), within=_TIME_LIMIT + 10)
        operator.rollback()
        eventually(lambda: _assert_tracked(operator), within=20)


def _assert_waits_for_a_lock(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        assert conn.execute(waiting).rowcount


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _assert_gone(pid: int) -> None:
    assert not alive(pid)


def _assert_tracked(conn: psycopg.Connection) -> None:
    rows = conn.execute("SELECT internet_message_id, campaign_id FROM azure_message_tracking").fetchall()
    conn.rollback()
    assert rows == [("<a@example.com>", 7)]
