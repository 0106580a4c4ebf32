"""Celery's children and its main process are killed, and asked for tasks that they do not know."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis
from celery import Celery
from sqlalchemy import Engine, text

from tasks.context import Context
from tasks.reasons import Reason
from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import ROOT
from tests.faults.impatient_worker import DEADLY, DEATHS, RETRIES
from tests.faults.programs import (
    assert_empty,
    assert_quarantined,
    assert_said,
    assert_tracked,
    quarantined,
    start_worker,
)
from tests.faults.programs import tracked as tracked_in
from tests.tasks.streams import drain
from tests.waiting import eventually
from worker.queues import TRACKING
from worker.streams import MESSAGES

#: Workers start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)


class ImpatientWorker:
    """`tests.faults.impatient_worker` as a process group of its own, without drain processes."""

    def __init__(self, visibility_seconds: int, database_url: str, redis_url: str, folder: Path) -> None:
        self.log_path = folder / f"impatient-{os.urandom(3).hex()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.impatient_worker", str(visibility_seconds)],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONWARNINGS": "ignore",
                    "ATTRIBUTION_DATABASE_URL": database_url,
                    "ATTRIBUTION_REDIS_URL": redis_url,
                    "ATTRIBUTION_DRAIN_PROCESSES": "0",
                },
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        eventually(self.assert_ready, within=30)

    def assert_ready(self) -> None:
        log = self.log_path.read_text(errors="replace")
        assert "ready." in log, log[-3000:]

    def end(self) -> None:
        """Kill it with its children, as a crash of the machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


StartImpatient = Callable[[int], ImpatientWorker]


@pytest.fixture
def start_impatient(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[StartImpatient]:
    with ExitStack() as workers:

        def begin(visibility_seconds: int) -> ImpatientWorker:
            worker = ImpatientWorker(visibility_seconds, database_url, redis_url, tmp_path)
            workers.callback(worker.end)
            return worker

        yield begin


def test_a_task_that_kills_its_child_is_tried_a_few_times_and_then_its_trackings_are_kept_on_their_stream(
    start_impatient: StartImpatient, redis_url: str, redis_client: redis.Redis, ctx: Context, engine: Engine
) -> None:
    worker = start_impatient(180)
    mailer = Celery(broker=redis_url)
    mailer.send_task("track_message", args=["<deadly@example.com>", DEADLY], queue=TRACKING)
    eventually(lambda: assert_on_stream(redis_client, 1), within=30)
    assert redis_client.get(DEATHS) == b"%d" % (1 + RETRIES)
    mailer.send_task(
        "track_message", kwargs={"internet_message_id": "<b@example.com>", "campaign_id": 7}, queue=TRACKING
    )
    eventually(lambda: assert_tracked(engine, "<b@example.com>"), within=40)
    assert redis_client.get(DEATHS) == b"%d" % (1 + RETRIES), "and it has not come back"
    assert worker.process.poll() is None
    assert "deadly" not in worker.log_path.read_text()
    drain(ctx)
    assert tracked_in(engine) == {"<deadly@example.com>", "<b@example.com>"}


def assert_on_stream(client: redis.Redis, entries: int) -> None:
    assert client.xlen(MESSAGES) == entries


def test_what_a_killed_worker_had_taken_comes_back_by_the_visibility_timeout(
    start_impatient: StartImpatient, redis_url: str, redis_client: redis.Redis, engine: Engine, longer: bool
) -> None:
    if not longer:
        pytest.skip("two workers one after the other: --longer")
    first = start_impatient(2)
    with engine.connect() as blocker:
        blocker.execute(text("LOCK azure_message_tracking IN ACCESS EXCLUSIVE MODE"))
        Celery(broker=redis_url).send_task("track_message", args=["<a@example.com>", 7], queue=TRACKING)
        eventually(lambda: assert_unacknowledged(redis_client))
        first.end()
    assert tracked_in(engine) == set()
    start_impatient(2)
    eventually(lambda: assert_tracked(engine, "<a@example.com>"), within=30)


def assert_unacknowledged(client: redis.Redis) -> None:
    assert client.hlen("unacked") == 1


def test_a_task_of_another_release_is_told_and_what_it_carried_is_kept(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, engine: Engine
) -> None:
    worker = start_worker(start, database_url, redis_url)
    mailer = Celery(broker=redis_url)
    carried = {"internet_message_id": "<Some.Person@example.com>", "campaign_id": 7}
    mailer.send_task("track_message_v2", kwargs=carried, queue=TRACKING)
    mailer.send_task("track_message", args=["<after@example.com>", 7], queue=TRACKING)
    eventually(lambda: assert_quarantined(engine, 1), within=40)
    eventually(lambda: assert_tracked(engine, "<after@example.com>"), within=40)
    ((reason, body),) = quarantined(engine)
    assert reason == Reason.TRACKING_INVALID
    assert json.loads(body) == {"unknown_task": "track_message_v2", "arguments": [], "keywords": carried}
    assert tracked_in(engine) == {"<after@example.com>"}, "nobody knows what the other was to do"
    eventually(lambda: assert_empty(redis_client))
    assert_said(worker, "deploy worker and mailer together")
    assert "Person" not in worker.log
