"""Scheduled tasks tell Sentry that they run: its monitors miss what does not come, which no error ever tells.

Sentry's own integration does so for schedules of whole minutes. It knows no shorter ones, and most of ours are of
seconds: of those, whichever worker succeeds first in a minute checks in for all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from celery import signals

from worker.telemetry.error_tracking import is_first

#: Seconds for which one check-in of a task stands for all of its runs, a little less than the minute of its monitor.
_STANDS_SECONDS: Final = 50
#: Seconds after which a process asks again whether it is its turn.
_ASK_SECONDS: Final = 5.0
#: The monitor of a task that runs every few seconds: minutes between check-ins, and minutes that one may be late.
_MONITOR: Final = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "timezone": "UTC",
    "checkin_margin": 3,
    "max_runtime": 5,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}

_frequent: dict[str, str] = {}
_ask_at: dict[tuple[str, str], float] = {}


def is_frequent(entry: Mapping[str, Any]) -> bool:
    """Tell of an entry of beat's schedule whether Sentry's integration has no monitor for it."""
    seconds: float = entry["schedule"].run_every.total_seconds()
    return seconds < 60 or seconds % 60 != 0


def watch_frequent_tasks(schedule: Mapping[str, Mapping[str, Any]]) -> None:
    """Have this worker, and the children that it forks, check in for what is frequent in beat's ``schedule``."""
    _frequent.update({entry["task"]: name for name, entry in schedule.items() if is_frequent(entry)})
    signals.task_success.connect(_note_success)
    signals.task_failure.connect(_note_failure)


def _note_success(sender: Any, **_signal: Any) -> None:
    _check_in(sender.name, "ok")


def _note_failure(sender: Any, **_signal: Any) -> None:
    _check_in(sender.name, "error")


def _check_in(task: str, status: str) -> None:
    monitor = _frequent.get(task)
    now = time.monotonic()
    if monitor is None or now < _ask_at.get((task, status), 0.0):
        return
    _ask_at[task, status] = now + _ASK_SECONDS
    if is_first(f"check-in:{monitor}:{status}", _STANDS_SECONDS):
        from sentry_sdk.crons import capture_checkin  # noqa: PLC0415 - it is there, or nobody would watch

        config: Any = _MONITOR
        capture_checkin(monitor_slug=monitor, status=status, monitor_config=config)
