"""Beat's scheduler: it waits by a clock that nobody sets."""

from __future__ import annotations

from time import monotonic

from celery.beat import ScheduleEntry, Scheduler


class SteadyScheduler(Scheduler):
    """Celery's plain scheduler, but that an entry's turn comes by the monotonic clock.

    Celery's own waits until the wall clock shows an instant: set back by an hour, it asks nothing for an hour. What an
    entry answers is by the wall clock still: see `worker.interval`.
    """

    def _when(self, entry: ScheduleEntry, next_time_to_run: float) -> float:
        """Return when the turn of an entry comes, which may be now."""
        return monotonic() + next_time_to_run
