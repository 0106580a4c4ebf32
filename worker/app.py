"""The Celery application. ``celery -A worker.app worker`` starts a worker, which keeps its own drain processes."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging, task_unknown

from worker import kombu_guard
from worker.drain_keeper import DrainKeeper
from worker.logs import configure_logs
from worker.redis_checks import require_safe_redis
from worker.settings import WorkerSettings

_log = logging.getLogger(__name__)

kombu_guard.install()

app = Celery(
    "attribution",
    task_cls="worker.private_task:PrivateTask",
    include=["tasks.drain", "tasks.track", "tasks.parked"],
)
app.config_from_object("worker.celeryconfig")
app.steps["worker"].add(DrainKeeper)


@setup_logging.connect
def _configure_logs(**_signal: Any) -> None:
    settings = WorkerSettings.read()
    configure_logs(settings.log_format, settings.log_level)


@celeryd_init.connect
def _refuse_unsafe_redis(**_signal: Any) -> None:
    """Refuse to start a worker against a Redis that may lose what it has acknowledged."""
    settings = WorkerSettings.read()
    if not settings.allow_unsafe_redis:
        require_safe_redis(settings.redis_url.get_secret_value())


@task_unknown.connect
def _say_what_is_unknown(name: str, **_signal: Any) -> None:
    """A mailer newer or older than this worker asks for a task that it does not have: Celery drops the message."""
    _log.error("dropped a message for the task %r, which this version does not have; deploy worker and mailer together", name)
