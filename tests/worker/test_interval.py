"""Beat goes on though the clock be set."""

from __future__ import annotations

import copy
import importlib
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery
from kombu.utils.imports import symbol_by_name

from worker.beat import SteadyScheduler
from worker.interval import Interval

#: Entries as beat has them, and one that comes rarely: name and seconds.
ENTRIES = {"webhooks": 1.0, "sweep": 2.0, "drain": 10.0, "rewrites": 300.0}


@pytest.fixture
def interval() -> Interval:
    return Interval(10.0, app=Celery(set_as_current=False))


def is_due(interval: Interval, last_run: timedelta) -> tuple[bool, float]:
    due, next_seconds = interval.is_due(datetime.now(UTC) + last_run)
    return due, float(next_seconds)


def test_it_is_due_when_its_time_is_over_and_not_before(interval: Interval) -> None:
    assert is_due(interval, timedelta(seconds=-10)) == (True, 10.0)
    due, next_seconds = is_due(interval, timedelta(seconds=-4))
    assert not due
    assert 5 < next_seconds <= 6


@pytest.mark.parametrize("ahead", [timedelta(seconds=5), timedelta(hours=1), timedelta(days=2)])
def test_a_last_run_in_the_future_means_that_the_clock_was_set_back_and_it_is_due(
    interval: Interval, ahead: timedelta
) -> None:
    assert is_due(interval, ahead) == (True, 10.0)


def test_it_survives_being_copied_as_celery_does(interval: Interval) -> None:
    assert copy.copy(interval) == interval


class Beat(SteadyScheduler):
    """A whole scheduler that sends nothing, in a time of its own: ``wall`` may be set, ``seconds`` may not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = datetime(2026, 1, 10, 12, tzinfo=UTC)
        self.seconds = 0.0
        self.sent: dict[str, list[float]] = defaultdict(list)
        celery = Celery(set_as_current=False)
        celery.conf.update(timezone="UTC", beat_schedule={
            name: {"task": name, "schedule": Interval(seconds, app=celery)} for name, seconds in ENTRIES.items()
        })  # fmt: skip
        monkeypatch.setattr(celery, "now", lambda: self.wall)
        monkeypatch.setattr("worker.beat.monotonic", lambda: self.seconds)
        super().__init__(celery)

    @property
    def producer(self) -> Any:
        return None

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.sent[entry.name].append(self.seconds)

    def run(self, seconds: float) -> None:
        end = self.seconds + seconds
        while self.seconds < end:
            slept = max(0.005, self.tick())  # a tick takes its time
            self.seconds += slept
            self.wall += timedelta(seconds=slept)


@pytest.mark.parametrize(
    "jump", [timedelta(hours=-1), timedelta(days=-2), timedelta(seconds=-5), timedelta(hours=1), timedelta(days=2)]
)
def test_whatever_the_clock_is_set_to_each_entry_is_sent_at_its_interval(
    monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    beat = Beat(monkeypatch)
    beat.run(905)
    beat.wall += jump
    beat.run(905)
    for name, interval in ENTRIES.items():
        gaps = [later - earlier for earlier, later in pairwise([0.0, *beat.sent[name], beat.seconds])]
        # Set back by less than its interval, an entry finds that so much of it is missing, and waits that long, once.
        missing = max(0, -jump.total_seconds()) if -jump.total_seconds() < interval else 0
        assert max(gaps) <= interval + missing + 0.1, name
        assert min(gaps[:-1]) >= interval - 0.001, name


def test_celery_is_told_to_use_that_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
    monkeypatch.delitem(sys.modules, "worker.celeryconfig", raising=False)
    configured = importlib.import_module("worker.celeryconfig").beat_scheduler
    assert symbol_by_name(configured) is SteadyScheduler
