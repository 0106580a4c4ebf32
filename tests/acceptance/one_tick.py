"""``python -m tests.acceptance.one_tick ENTRY``: a beat that sends one entry of its schedule, and ends."""

from __future__ import annotations

import sys

import sentry_sdk
from celery import beat, signals

from worker.app import app
from worker.beat import SteadyScheduler


def main() -> None:
    """Begin as beat does, and send what is named on the command line as if its turn had come."""
    service = beat.Service(app, scheduler_cls=SteadyScheduler)
    signals.beat_init.send(sender=service)
    scheduler = service.scheduler
    scheduler.apply_entry(scheduler.schedule[sys.argv[1]], producer=scheduler.producer)
    sentry_sdk.flush(5)


if __name__ == "__main__":
    main()
