"""The Celery application: its tasks, its schedule, its guard."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as RedisConnectionError

from worker import kombu_guard
from worker.app import _say_what_is_served, app
from worker.interval import Interval
from worker.private_task import PrivateTask
from worker.queues import ALL, MAINTENANCE
from worker.telemetry.celery_logs import restrain_celery


@pytest.fixture(scope="module")
def celeryconfig() -> Iterator[Any]:
    """Return Celery's settings, which are read from the environment when the module is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
        patch.setenv("ATTRIBUTION_SWEEP_INTERVAL", "3")
        patch.setenv("ATTRIBUTION_BROKER_URL", "redis://127.0.0.1:1/2")
        sys.modules.pop("worker.celeryconfig", None)
        yield importlib.import_module("worker.celeryconfig")
        sys.modules.pop("worker.celeryconfig", None)


def test_the_tasks_are_exactly_these_so_that_a_renamed_one_is_noticed(celeryconfig: Any) -> None:
    app.loader.import_default_modules()
    ours = {name for name, task in app.tasks.items() if task.__module__.startswith("tasks.")}
    assert ours == {
        "detect_rewrites",
        "measure",
        "drain_events",
        "purge",
        "purge_archive",
        "count_campaigns",
        "send_webhooks",
        "sweep_parked",
        "track_message",
        "track_messages",
        "watch_native",
    }
    for name in ours:
        assert isinstance(app.tasks[name], PrivateTask)
        assert celeryconfig.task_routes[name]["queue"] in ALL


def test_every_beat_entry_names_a_task_and_expires_within_a_few_intervals(celeryconfig: Any) -> None:
    for entry in celeryconfig.beat_schedule.values():
        assert entry["task"] in celeryconfig.task_routes
        assert 0 < entry["options"]["expires"] <= 5 * entry["schedule"].seconds
        assert type(entry["schedule"]) is Interval  # goes on though the clock be set back
    assert celeryconfig.beat_schedule["sweep"]["schedule"].seconds == 3.0


def test_the_broker_may_be_another_redis_than_the_streams(celeryconfig: Any) -> None:
    assert celeryconfig.broker_url == "redis://127.0.0.1:1/2"


def test_only_json_is_accepted_and_nothing_is_kept_as_a_result(celeryconfig: Any) -> None:
    assert celeryconfig.accept_content == ["json"]
    assert celeryconfig.task_ignore_result
    assert celeryconfig.task_default_queue == MAINTENANCE
    assert not hasattr(celeryconfig, "result_backend")


def test_abandoned_messages_come_back_later_than_any_task_can_run(celeryconfig: Any) -> None:
    assert celeryconfig.broker_transport_options["visibility_timeout"] > celeryconfig.task_time_limit
    assert PrivateTask.default_retry_delay < celeryconfig.broker_transport_options["visibility_timeout"]


def test_the_guard_turns_a_closed_transport_into_a_connection_error() -> None:
    kombu_guard.install()
    kombu_guard.install()
    for connection in (None, SimpleNamespace(client=None)):
        with pytest.raises(RedisConnectionError):
            Channel._connparams(SimpleNamespace(connection=connection))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("served", "level"),
    [(ALL, logging.INFO), ([MAINTENANCE], logging.WARNING), ([*ALL, "another"], logging.INFO)],
    ids=["all", "one", "more"],
)
def test_a_worker_says_at_its_start_which_queues_it_serves_and_warns_of_those_it_leaves_out(
    served: Sequence[str], level: int, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=served))))
    with caplog.at_level("INFO", logger="worker.app"):
        _say_what_is_served(consumer)
    (record,) = caplog.records
    assert record.levelno == level
    assert record.__dict__["queues"] == list(served)
    assert record.__dict__.get("left_out", []) == [queue for queue in ALL if queue not in served]


def test_celery_does_not_log_the_body_of_a_message_that_it_drops(caplog: pytest.LogCaptureFixture) -> None:
    consumer: Any = importlib.import_module("celery.worker.consumer.consumer")

    restrain_celery("INFO")
    logger = logging.getLogger("celery.worker.consumer.consumer")
    with caplog.at_level("WARNING", logger=logger.name):
        logger.warning(consumer.UNKNOWN_FORMAT, "ada@example.net")
        logger.error(consumer.UNKNOWN_TASK_ERROR, "KeyError", "ada@example.net", {"h": "ada@example.net"}, "x")
        logger.error(consumer.INVALID_TASK_ERROR, "ada@example.net", "ada@example.net")
        logger.critical(consumer.MESSAGE_DECODE_ERROR, "ada@example.net", "a", "b", "c", "ada@example.net")
    assert len(caplog.messages) == 4
    assert not [message for message in caplog.messages if "ada" in message]


def test_ticks_that_came_too_late_are_not_logged_one_by_one_and_what_went_wrong_with_a_task_is() -> None:
    restrain_celery("INFO")
    logger = logging.getLogger(
        "celery.worker.request"
    )  # an hour without PostgreSQL is thousands of "Discarding revoked"
    assert not logger.isEnabledFor(logging.INFO)
    assert logger.isEnabledFor(logging.WARNING)
