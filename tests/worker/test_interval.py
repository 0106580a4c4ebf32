"""Beat goes on though the clock be set."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from worker.interval import Interval


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
