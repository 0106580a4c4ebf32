"""A whole installation, as it runs: in order, and with its parts killed, of another release, or at nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from cli.doctor.celery_nodes import Nodes
from db.migrate import upgrade
from simulator import listmonk
from tests.acceptance.programs import Program, free_port
from tests.cli.doctor.conftest import NOWHERE, Diagnose, random_secret
from tests.conftest import MakePostgres, MakeRedis
from tests.waiting import eventually
from worker import queues
from worker.streams import MEASURED
from worker.telemetry.metrics import MEASURED_AT

#: Programs start and stop here, which on a busy machine takes most of the time.
pytestmark = pytest.mark.timeout(180)

CELERY = {"database_url": f"postgresql://a@{NOWHERE}/a"}


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Any]:
    """Start programs with one environment, named as settings are."""
    with ExitStack() as running:

        def run(name: str, *options: str, **settings: object) -> Program:
            environment = {f"ATTRIBUTION_{key.upper()}": str(value) for key, value in settings.items()}
            program = Program(name, *options, environment=environment, folder=tmp_path)
            running.callback(program.end)
            return program

        yield run


def assert_answers(diagnose: Diagnose, check: str, **settings: object) -> None:
    assert diagnose(only=check, **settings).one(check)[0] == "ok"


def test_an_installation_that_runs_is_in_order_and_each_part_that_dies_is_missed(
    programs: Any, private_postgres: MakePostgres, private_redis: MakeRedis, diagnose: Diagnose
) -> None:
    postgres, server = private_postgres(fsync="on"), private_redis(maxmemory="200mb")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        listmonk.install(connection, campaigns=3, subscribers=3)
    upgrade(postgres.url)
    settings = {
        "database_url": postgres.url,
        "redis_url": server.url,
        "event_secrets": random_secret(),
        "message_secrets": random_secret(),
        "flower_auth": f"operator:{random_secret()}",
        "port": free_port(),
        "recipient_key": random_secret(),
        "metrics_port": 0,
    }
    programs("receiver", **settings)
    worker, beat = programs("worker", **settings), programs("beat", **settings)
    for check in ("celery-workers", "celery-beat"):
        eventually(lambda each=check: assert_answers(diagnose, each, **settings), within=60)  # type: ignore[misc]
    with redis.Redis.from_url(server.url) as client:
        eventually(lambda: assert_measured(client), within=60)

    diagnosis = diagnose(**settings)
    assert diagnosis.bad() == []
    skipped = {found["sentence"] for found in diagnosis.document["findings"] if found["level"] == "skipped"}
    assert skipped == {"the public address was not given"}
    hints = {found["check"] for found in diagnosis.document["findings"] if found["level"] == "hint"}
    assert hints <= {"events-push", "events-dead-letters", "handshake-address"}
    assert diagnosis.exit_code == 0
    assert diagnose("--strict", **settings).exit_code == 0

    beat.kill()
    worker.stop()
    with redis.Redis.from_url(server.url) as client:
        client.lpush(queues.TRACKING, "a task")
        kept = json.loads(client.get(MEASURED) or b"{}")
        kept[MEASURED_AT.name][0][1] -= 600
        client.set(MEASURED, json.dumps(kept))
    diagnosis = diagnose(only="celery", **settings)
    assert diagnosis.one("celery-workers")[1].startswith("No Celery worker answers")
    assert diagnosis.one("celery-beat")[1].startswith("No beat answers")
    waiting = [sentence for level, sentence, _ in diagnosis.of("celery-queues") if level == "failure"]
    assert "1 task waits in the queue attribution.tracking, and no worker is there." in waiting
    assert diagnosis.one("celery-measured")[1].startswith("The task `measure` last left its result 10 minutes ago")
    assert diagnosis.exit_code == 1


def assert_measured(client: redis.Redis) -> None:
    assert client.exists(MEASURED)


def test_a_queue_without_a_worker_and_a_second_beat_are_found(
    programs: Any, database_url: str, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    settings = {"database_url": database_url, "redis_url": redis_url, "metrics_port": 0}
    worker = programs("worker", "--queues", f"{queues.DRAIN},{queues.MAINTENANCE}", **settings)
    for _ in range(2):
        programs("beat", **settings)
    redis_client.lpush(queues.TRACKING, *("a task" for _ in range(3)))
    eventually(lambda: assert_answers(diagnose, "celery-workers", **settings), within=60)
    eventually(lambda: assert_two_beats(diagnose, settings), within=60)
    assert diagnose(only="celery-queues", **settings).one("celery-queues")[:2] == (
        "failure",
        "No worker serves the queue attribution.tracking, and 3 tasks wait there.",
    )
    assert "this worker leaves queues out" in worker.log
    assert '"left_out": ["attribution.tracking"]' in worker.log


def assert_two_beats(diagnose: Diagnose, settings: dict[str, object]) -> None:
    level, sentence, _ = diagnose(only="celery-beat", **settings).one("celery-beat")
    assert (level, sentence.partition(",")[0]) == ("hint", "2 beats answer")


def test_a_queue_that_grows_is_found(
    redis_url: str, redis_client: redis.Redis, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Nodes(["worker@a"], [], {"worker@a": list(queues.ALL)}, {"worker@a": set(queues.QUEUE_OF)})
    monkeypatch.setattr(Nodes, "of", classmethod(lambda _kind, _installation: served))
    redis_client.lpush(queues.MAINTENANCE, *("a task" for _ in range(1001)))
    found = diagnose(only="celery-queues", redis_url=redis_url, **CELERY).one("celery-queues")
    assert found[:2] == (
        "warning",
        "1,001 tasks wait in the queue attribution.maintenance: its workers do not keep up.",
    )


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        (lambda ours: ours - {"sweep_parked"}, "warning", "1 worker of another release does not know sweep_parked"),
        (lambda ours: ours | {"not_yet"}, "hint", "1 worker knows tasks that this release does not have: not_yet"),
    ],
    ids=["older", "newer"],
)
def test_a_worker_of_another_release_is_found(
    change: Any, level: str, words: str, redis_url: str, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = set(queues.QUEUE_OF)
    assert {"drain_events", "sweep_parked"} <= ours
    told = {"worker@a": ours, "worker@b": change(ours)}
    nodes = Nodes(sorted(told), [], {name: list(queues.ALL) for name in told}, told)
    monkeypatch.setattr(Nodes, "of", classmethod(lambda _kind, _installation: nodes))
    found = diagnose(only="celery-release", redis_url=redis_url, **CELERY).one("celery-release")
    assert found[0] == level
    assert found[1].startswith(words)


def test_what_beat_leaves_undone_is_found(database_url: str, redis_url: str, diagnose: Diagnose) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO azure_engagement_events (event_id, state, engagement_type, event_timestamp, next_attempt_at)"
            " VALUES ('late', 'parked', 'view', now(), now() - interval '20 minutes')"
        )
        connection.execute(
            "INSERT INTO azure_message_tracking (campaign_id, internet_message_id, created_at)"
            " VALUES (7, '<m@example.com>', now() - interval '30 minutes')"
        )
    diagnosis = diagnose(only="celery-ticks", database_url=database_url, redis_url=redis_url)
    late, foreign = diagnosis.of("celery-ticks")
    assert late[:2] == (
        "failure",
        "A parked event should have been looked for 20 minutes ago: no sweep runs, or each fails.",
    )
    assert foreign[0] == "failure"
    assert foreign[1].startswith("1 tracking row of another program has waited for 30 minutes to be adopted")


def test_a_result_of_measuring_that_cannot_be_read_is_no_finding(
    redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    for kept in (b"", b"[]", b"{}", b"no JSON", json.dumps({MEASURED_AT.name: []}).encode()):
        redis_client.set(MEASURED, kept)
        assert diagnose(only="celery-measured", redis_url=redis_url, **CELERY).one("celery-measured")[0] == "ok"
    redis_client.set(MEASURED, json.dumps({MEASURED_AT.name: [[[], time.time() - 5]]}))
    assert diagnose(only="celery-measured", redis_url=redis_url, **CELERY).one("celery-measured")[0] == "ok"
