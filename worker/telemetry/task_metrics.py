"""What Celery's tasks tell the metrics: how often they ended how, how long they took, when each last succeeded."""

from __future__ import annotations

import time
from typing import Any

from billiard import current_process
from celery import signals

from worker.telemetry import metrics, places

_started: dict[str, float] = {}


@signals.worker_process_init.connect
def take_place_in_pool(**_signal: Any) -> None:
    """Count in the place that this process has in its pool."""
    places.take_place(f"pool-{getattr(current_process(), 'index', 0)}")


@signals.task_prerun.connect
def note_start(task_id: str, task: Any, **_signal: Any) -> None:
    """Remember when a task began."""
    metrics.begin_task(task.name)
    _started[task_id] = time.perf_counter()


@signals.task_postrun.connect
def note_end(task_id: str, task: Any, **_signal: Any) -> None:
    """Tell how long a task took, whatever became of it."""
    began_at = _started.pop(task_id, None)
    if began_at is not None:
        metrics.TASK_SECONDS.labels(task.name).observe(time.perf_counter() - began_at)


@signals.task_success.connect
def note_success(sender: Any, **_signal: Any) -> None:
    """Tell that a task succeeded, and when."""
    metrics.TASKS.labels(sender.name, "succeeded").inc()
    metrics.TASK_SUCCEEDED.labels(sender.name).set(time.time())


@signals.task_failure.connect
def note_failure(sender: Any, **_signal: Any) -> None:
    """Tell that a task failed."""
    metrics.TASKS.labels(sender.name, "failed").inc()


@signals.task_retry.connect
def note_retry(sender: Any, **_signal: Any) -> None:
    """Tell that a task will be tried again."""
    metrics.TASKS.labels(sender.name, "retried").inc()
