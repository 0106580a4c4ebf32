"""Flower, as ops' first window: results in words, no arguments, and nobody without the password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from celery import Celery

from tests.acceptance.conftest import StartProgram
from tests.acceptance.programs import free_port
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, push_events
from tests.waiting import eventually
from worker.queues import DRAIN, MAINTENANCE, TRACKING

AUTH = ("ops", "password-of-the-tests")
READER = "margaret.hamilton"


@pytest.fixture
def flower(start: StartProgram, database_url: str, redis_url: str) -> Iterator[httpx.Client]:
    """A worker, and Flower beside it."""
    port = free_port()
    environment: dict[str, Any] = {"attribution_database_url": database_url, "attribution_redis_url": redis_url}
    programs = [
        start("flower", f"--port={port}", **environment, attribution_flower_auth=":".join(AUTH)),
        start("worker", **environment),
    ]

    def is_up() -> None:
        try:
            client.get("/healthcheck").raise_for_status()
        except httpx.HTTPError as error:
            raise AssertionError(programs[0].log[-2000:]) from error

    def sees_the_worker() -> None:
        workers = client.get("/api/workers", params={"refresh": "1"}).json()
        assert workers, [program.log[-2000:] for program in programs]

    with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=AUTH, timeout=10) as client:
        eventually(is_up, within=30)
        eventually(sees_the_worker, within=30)
        yield client


def assert_empty(client: redis.Redis) -> None:
    assert backlog(client) == (0, 0)


def test_flower_shows_results_in_words_and_no_arguments(
    flower: httpx.Client, redis_url: str, redis_client: redis.Redis
) -> None:
    mailer = Celery(broker=redis_url)
    tracking = {"internet_message_id": f"<{READER}@example.com>", "campaign_id": 7}
    mailer.send_task("track_messages", [[tracking]], queue=TRACKING)
    mailer.send_task("track_message", [f"<{READER}@example.com>", 8], queue=TRACKING)
    mailer.send_task("sweep_parked", queue=MAINTENANCE)

    def shown(number: int) -> dict[str, dict[str, Any]]:
        tasks: dict[str, dict[str, Any]] = flower.get("/api/tasks").json()
        assert sum(task["state"] == "SUCCESS" for task in tasks.values()) == number, tasks
        return tasks

    eventually(lambda: shown(3), within=30)
    push_events(redis_client, body_of(*(engagement(internet_message_id=f"<{READER}@example.com>") for _ in range(3))))
    push_events(redis_client, body_of(engagement(internet_message_id="<unknown@example.com>")))
    eventually(lambda: assert_empty(redis_client), within=30)
    mailer.send_task("drain_events", queue=DRAIN)
    tasks = eventually(lambda: shown(4), within=30)
    results = {task["name"]: task["result"] for task in tasks.values()}
    assert results["sweep_parked"].strip("'") == "nothing due"
    assert results["drain_events"].strip("'") == "nothing to do; this worker so far: attributed 3, parked 1"
    tracked = sorted(task["result"].strip("'") for task in tasks.values() if task["name"].startswith("track"))
    assert tracked == ["refused 1", "tracked 1"]
    pages = ["/tasks", "/workers", "/broker", "/metrics", "/api/tasks", *(f"/task/{uuid}" for uuid in tasks)]
    for page in pages:
        assert READER not in flower.get(page).text
    (one, *_) = (uuid for uuid, task in tasks.items() if task["name"] == "track_messages")
    assert "(hidden)" in flower.get(f"/task/{one}").text
    listed = flower.get("/tasks/datatable", params=DATATABLE).json()
    assert {row["result"] for row in listed["data"]} >= {"refused 1", "nothing due"}
    assert "result" in flower.get("/tasks").text


#: What the page asks for its table with.
DATATABLE: dict[str, str | int] = {
    "draw": 1, "start": 0, "length": 10, "search[value]": "", "order[0][column]": 0, "order[0][dir]": "asc",
    "columns[0][data]": "name",
}  # fmt: skip


def test_nobody_gets_in_without_the_password(flower: httpx.Client) -> None:
    with httpx.Client(base_url=flower.base_url) as stranger:
        for page in ("/", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert stranger.get(page).status_code == 401
            assert stranger.get(page, auth=("ops", "wrong")).status_code == 401
