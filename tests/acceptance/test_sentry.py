"""Every program tells Sentry of its faults, and scheduled tasks that they run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis

from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import ROOT, Program
from tests.acceptance.test_worker import assert_said, mailer
from tests.sentry_server import SentryServer, sentry_server, words_of
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events
from tests.waiting import eventually
from worker.queues import TRACKING
from worker.streams import TOLD


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with sentry_server() as server:
        yield server


@pytest.fixture
def environment(sentry: SentryServer, database_url: str, redis_url: str) -> dict[str, Any]:
    return {
        "attribution_database_url": database_url,
        "attribution_redis_url": redis_url,
        "attribution_sentry_dsn": sentry.dsn,
        "attribution_claim_after": 1,
    }


@pytest.fixture
def worker(start: StartProgram, environment: dict[str, Any]) -> Program:
    worker = start("worker", **environment)
    eventually(lambda: assert_said(worker, "ready."), within=30)
    return worker


def tick(environment: dict[str, Any], entry: str) -> None:
    """Have a beat send one entry of its schedule."""
    variables = {"PATH": os.environ["PATH"], **{name.upper(): str(value) for name, value in environment.items()}}
    command = [sys.executable, "-m", "tests.acceptance.one_tick", entry]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, timeout=50)


def check_ins(sentry: SentryServer, monitor: str) -> list[dict[str, Any]]:
    return [each for each in sentry.items("check_in") if each["monitor_slug"] == monitor]


def test_a_task_of_every_few_minutes_is_begun_by_beat_and_ended_by_whoever_ran_it(
    worker: Program, sentry: SentryServer, environment: dict[str, Any]
) -> None:
    tick(environment, "rewrites")
    begun, ended = eventually(lambda: _several(check_ins(sentry, "rewrites"), 2), within=20)
    assert (begun["status"], ended["status"]) == ("in_progress", "ok")
    assert begun["check_in_id"] == ended["check_in_id"]
    assert begun["monitor_config"]["schedule"] == {"type": "interval", "value": 5, "unit": "minute"}


def test_a_task_of_every_few_seconds_checks_in_once_a_minute_whoever_runs_it(
    worker: Program, sentry: SentryServer, environment: dict[str, Any], redis_client: redis.Redis
) -> None:
    for _ in range(3):
        tick(environment, "count")
    (told,) = eventually(lambda: _several(check_ins(sentry, "count"), 1), within=20)
    assert (told["status"], told["monitor_config"]["schedule"]["unit"]) == ("ok", "minute")
    assert redis_client.ttl(f"{TOLD}check-in:count:ok") > 0


def test_each_program_tells_its_faults_and_no_address_or_row(
    worker: Program, sentry: SentryServer, environment: dict[str, Any], database_url: str, redis_client: redis.Redis
) -> None:
    app = mailer(str(environment["attribution_redis_url"]))
    app.send_task("no_such_task", args=["ada.marked@example.com"], queue=TRACKING)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE azure_engagement_events RENAME TO elsewhere")
    push_events(redis_client, body_of(engagement("e1", recipient="ada.marked@example.com")))
    tick(environment, "sweep")

    def told() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for event in sentry.events():
            types = [each["type"] for each in (event.get("exception") or {}).get("values") or ()]
            found.setdefault(event["tags"]["program"], []).extend([words_of(event), *types])
        assert any("a mailer asked for a task" in words for words in found.get("worker", []))
        assert any("a batch was not finished" in words for words in found.get("drain", []))
        assert "ProgrammingError" in found["worker"]  # of a child of its pool
        return found

    eventually(told, within=30)
    (failed,) = eventually(lambda: _several(check_ins(sentry, "sweep"), 1), within=20)
    assert failed["status"] == "error"
    assert "marked" not in sentry.text()
    assert "celery-job" not in sentry.text()


def _several(found: list[Any], count: int) -> list[Any]:
    assert len(found) >= count, found
    return found[:count]
