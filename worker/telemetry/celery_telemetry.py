"""Error tracking and tracing in Celery's programs, begun where each begins.

Errors are tracked from before the children are forked, so that they inherit it; spans are sent by a thread, which is
not inherited, so each child traces for itself.
"""

from __future__ import annotations

from typing import Any

from celery import signals

from worker.settings import WorkerSettings
from worker.telemetry.error_tracking import start_error_tracking
from worker.telemetry.tracing import start_tracing, stop_tracing


@signals.celeryd_init.connect
def start_in_worker(conf: Any = None, **_signal: Any) -> None:
    """Begin in a worker's main process. Its children are forked with it; its drain processes begin it themselves."""
    _start("worker", conf)


@signals.beat_init.connect
def start_in_beat(sender: Any, **_signal: Any) -> None:
    """Begin in beat."""
    _start("beat", sender.app.conf)


@signals.worker_process_init.connect
def start_in_child(**_signal: Any) -> None:
    """Begin to trace in a child of the pool."""
    start_tracing("worker")


@signals.worker_process_shutdown.connect
def stop_in_child(**_signal: Any) -> None:
    """Send what is left: a child ends without Python's own way of ending."""
    stop_tracing()


def _start(program: str, conf: Any) -> None:
    settings = WorkerSettings.read()
    if settings.sentry_dsn is None:
        return
    from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415 - for those who asked for it

    from worker.telemetry.check_ins import is_frequent, watch_frequent_tasks  # noqa: PLC0415

    frequent = [f"^{name}$" for name, entry in conf.beat_schedule.items() if is_frequent(entry)]
    # No trace of Sentry's rides on tasks: mailers of other projects send them, too.
    celery = CeleryIntegration(propagate_traces=False, monitor_beat_tasks=True, exclude_beat_tasks=frequent)
    if start_error_tracking(settings, program, [celery]) and program == "worker":
        watch_frequent_tasks(conf.beat_schedule)
