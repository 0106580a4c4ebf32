"""The Celery application. ``celery -A worker.app worker`` starts a worker, which keeps its own drain processes."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_unknown, worker_ready

from worker import kombu_guard, queues
from worker.drain_keeper import DrainKeeper
from worker.settings import WorkerSettings
from worker.telemetry import celery_telemetry, task_metrics  # noqa: F401 - they hear Celery's signals
from worker.telemetry.celery_logs import restrain_celery
from worker.telemetry.logs import configure_logs
from worker.telemetry.metrics_server import MetricsServer

_log = logging.getLogger(__name__)

kombu_guard.install()

app = Celery(
    "attribution",
    task_cls="worker.private_task:PrivateTask",
    include=[
        "tasks.checks",
        "tasks.drain",
        "tasks.track",
        "tasks.dropped",
        "tasks.parked",
        "tasks.webhook",
        "tasks.rewrites",
        "tasks.purging",
        "tasks.counting",
        "tasks.measuring",
    ],
)
app.config_from_object("worker.celeryconfig")
app.steps["worker"].add(DrainKeeper)
app.steps["worker"].add(MetricsServer)


@setup_logging.connect
def _configure_logs(**_signal: Any) -> None:
    settings = WorkerSettings.read()
    configure_logs(settings.log_format, settings.log_level)
    restrain_celery(settings.log_level)


@task_unknown.connect
def _say_what_is_unknown(name: str, **_signal: Any) -> None:
    """A mailer newer or older than this worker asks for a task that it does not have: see `tasks.dropped`."""
    _log.error("a mailer asked for a task that this version does not have; deploy worker and mailer together",
               extra={"task": name})  # fmt: skip


@worker_ready.connect
def _say_what_is_served(sender: Any, **_signal: Any) -> None:
    """A queue that no worker serves fills without a sound, and what its mailers tracked is missing."""
    served = list(sender.app.amqp.queues.consume_from)
    missing = [queue for queue in queues.ALL if queue not in served]
    if missing:
        _log.warning(
            "this worker leaves queues out (--queues); no other worker may serve them: see `attribution doctor`",
            extra={"queues": served, "left_out": missing},
        )
    else:
        _log.info("this worker serves every queue", extra={"queues": served})


@worker_ready.connect
def _say_that_nobody_is_kept(**_signal: Any) -> None:
    settings = WorkerSettings.read()
    if settings.recipients == "hash" and settings.recipient_key is None:
        _log.warning(
            "recipients are not kept, not even as hashes: ATTRIBUTION_RECIPIENT_KEY is not set, so nobody will be found"
            " by address when asking to be erased; see docs/privacy.md"
        )
