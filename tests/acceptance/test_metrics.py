"""A worker tells what its pool and its drain processes have counted, and goes on where a killed one stopped."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import pytest
import redis
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import Program, free_port
from tests.conftest import MakeRedis
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, push_events
from tests.waiting import eventually
from worker.queues import MAINTENANCE, TRACKING

Labels = tuple[tuple[str, str], ...]


def scrape(port: int) -> dict[tuple[str, Labels], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def assert_told(port: int, name: str, expected: float, **labels: str) -> None:
    told = scrape(port)
    assert told.get((name, tuple(sorted(labels.items())))) == expected, {k: v for k, v in told.items() if k[0] == name}


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def worker(start: StartProgram, database_url: str, redis_url: str, port: int, tmp_path: Path) -> Program:
    worker = start(
        "worker",
        attribution_database_url=database_url,
        attribution_redis_url=redis_url,
        attribution_metrics_port=port,
        attribution_claim_after=1,
        tmpdir=tmp_path,
    )

    def is_ready() -> None:
        assert "ready." in worker.log, worker.log[-3000:]

    eventually(is_ready, within=30)
    return worker


def test_a_worker_tells_what_all_its_processes_have_counted(
    worker: Program, port: int, redis_url: str, redis_client: redis.Redis
) -> None:
    mailer = Celery(broker=redis_url)
    for number in range(4):  # the pool's
        mailer.send_task("track_message", [f"<{number}@example.com>", 7], queue=TRACKING)
    push_events(redis_client, body_of(engagement(internet_message_id="<1@example.com>")))  # the drain's
    eventually(lambda: assert_told(port, "attribution_messages_total", 4, outcome="tracked"), within=30)
    eventually(lambda: assert_told(port, "attribution_event_to_row_seconds_count", 1))
    eventually(lambda: assert_told(port, "attribution_tasks_total", 4, outcome="succeeded", task="track_message"))
    mailer.send_task("measure", queue=MAINTENANCE)
    eventually(lambda: assert_told(port, "attribution_tasks_total", 1, outcome="succeeded", task="measure"))
    told = scrape(port)
    assert told["attribution_task_last_success_timestamp_seconds", (("task", "measure"),)] > 1_700_000_000
    assert told["attribution_queued_tasks", (("queue", TRACKING),)] == 0
    assert any(name == "attribution_build_info" for name, _ in told)


def test_a_drain_process_that_takes_the_place_of_a_killed_one_counts_on(
    worker: Program, port: int, redis_client: redis.Redis, tmp_path: Path
) -> None:
    def files() -> list[str]:
        (folder,) = tmp_path.glob("attribution-metrics-*")
        return sorted(os.listdir(folder))

    push_events(redis_client, body_of(engagement()))
    eventually(lambda: assert_told(port, "attribution_events_total", 1, outcome="parked", key=""), within=30)
    before = files()
    (killed,) = worker.drain_pids()
    os.kill(killed, signal.SIGKILL)
    push_events(redis_client, body_of(engagement(), engagement()))
    eventually(lambda: assert_told(port, "attribution_events_total", 3, outcome="parked", key=""), within=30)
    assert files() == before


def test_a_worker_leaves_nothing_behind(worker: Program, tmp_path: Path) -> None:
    assert list(tmp_path.glob("attribution-metrics-*"))
    worker.stop()
    assert not list(tmp_path.glob("attribution-metrics-*"))


def test_a_worker_whose_port_is_taken_works_on(
    worker: Program, port: int, start: StartProgram, database_url: str, redis_url: str
) -> None:
    second = start(
        "worker",
        "--hostname=second@%h",
        attribution_database_url=database_url,
        attribution_redis_url=redis_url,
        attribution_metrics_port=port,
    )

    def works() -> None:
        assert f"metrics are not served: 127.0.0.1:{port} cannot be listened on" in second.log
        assert "ready." in second.log

    eventually(works, within=30)


def test_a_worker_that_waits_for_a_full_redis_tells_its_metrics_and_so_that_it_lives(
    start: StartProgram, database_url: str, private_redis: MakeRedis, port: int
) -> None:
    server = private_redis()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
    worker = start(
        "worker",
        attribution_database_url=database_url,
        attribution_redis_url=server.url,
        attribution_metrics_port=port,
        attribution_drain_processes=0,
    )

    def waits() -> None:
        assert "Redis is full; Celery waits" in worker.log, worker.log[-3000:]

    eventually(waits, within=30)
    assert any(name == "attribution_build_info" for name, _ in scrape(port))


def test_a_worker_that_has_no_room_to_count_in_works_and_answers_whoever_asks_whether_it_lives(
    start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis, port: int, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    worker = start(
        "worker",
        attribution_database_url=database_url,
        attribution_redis_url=redis_url,
        attribution_metrics_port=port,
        prometheus_multiproc_dir=tmp_path / "a file" / "folder",
    )
    push_events(redis_client, body_of(engagement()))

    def has_drained() -> None:
        assert backlog(redis_client) == (0, 0), worker.log[-3000:]

    eventually(has_drained, within=30)
    assert "metrics are not counted" in worker.log
    assert any(name == "attribution_build_info" for name, _ in scrape(port))
