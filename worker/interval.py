"""Beat's schedule: an interval that a clock set back does not stretch."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from celery.schedules import schedule


class Interval(schedule):
    """Due again ``seconds`` after it ran last, by the wall clock.

    Celery's own is not due until the clock has reached the last run once more: set back by an hour, as when a wrong
    clock is put right, beat would send nothing for an hour. `worker.beat` says when it is asked.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        self._every = timedelta(seconds=seconds)
        super().__init__(run_every=self._every, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self._every.total_seconds(),)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return how long it is until it is due; nothing, if it seems to have run in the future."""
        remaining: timedelta = super().remaining_estimate(last_run_at)
        return remaining if remaining <= self._every else timedelta(0)
