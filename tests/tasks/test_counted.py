"""What is committed is counted once, as what it was, whatever fails afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from db.parking import Swept
from tasks import parked, track  # modules, and no tasks: see tests/tasks/test_track.py
from tasks.context import Context
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages

TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}

Count = Callable[[], dict[str, float]]


@pytest.fixture
def counted() -> Count:
    """Count what has been counted since the test began, by outcome, without what was not."""

    def look() -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for family in REGISTRY.collect()
            if family.name in ("attribution_events", "attribution_messages")
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels.get("key") in ("", None, "internet_message_id")
        }

    before = look()
    return lambda: {name: value - before.get(name, 0) for name, value in look().items() if value != before.get(name, 0)}


def problem(sqlstate: str | None) -> OperationalError:
    """Return what PostgreSQL says of a value that it does not take; without a state, that of one that is away."""
    cause = ConnectionRefusedError("no server")
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    return OperationalError("INSERT", {}, cause)


def fail(*_arguments: Any) -> Any:
    raise problem(None)


def test_events_that_were_attributed_before_their_settling_failed(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    push_messages(redis_client, TRACKING)
    drain(ctx)
    push_events(
        redis_client, body_of(engagement("e1"), engagement("e2"), engagement("e3", internet_message_id="<x@y>"))
    )
    with monkeypatch.context() as patch:
        patch.setattr("tasks.events.settle", fail)
        with pytest.raises(OperationalError):
            drain(ctx)
    assert counted() == {"tracked": 1, "attributed": 2, "parked": 1}
    drain(ctx)
    assert counted() == {"tracked": 1, "attributed": 2, "parked": 1, "duplicate": 3}
    assert backlog(redis_client) == (0, 0)


def test_the_half_of_a_batch_that_was_recorded_before_the_other_failed(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    outcomes = iter([problem("22003"), None, problem(None)])
    record = type(ctx.pipelines["attribution:events"]).record

    def record_or_fail(self: Any, engine: Engine, rows: Any) -> Any:
        if error := next(outcomes, None):
            raise error
        return record(self, engine, rows)

    monkeypatch.setattr("tasks.events.EventPipeline.record", record_or_fail)
    push_events(redis_client, body_of(engagement("e1")), body_of(engagement("e2")))
    with pytest.raises(OperationalError):
        drain(ctx)
    assert counted() == {"parked": 1}
    drain(ctx)
    assert counted() == {"parked": 2, "duplicate": 1}


def test_trackings_of_the_celery_door_whose_events_could_not_be_released(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    monkeypatch.setattr("tasks.track.context", lambda: ctx)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.messages.settle", fail)
        assert track.track_message.run(**TRACKING) == "handed to the stream"
    assert counted() == {"tracked": 1}
    drain(ctx)
    assert counted() == {"tracked": 1, "known": 1}


def test_what_a_sweep_has_released_before_what_it_taught_could_be_looked_for(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, counted: Count
) -> None:
    monkeypatch.setattr("tasks.parked.context", lambda: ctx)
    swept = Swept(attributed=2, expired=3)
    monkeypatch.setattr("tasks.parked.retry_due", lambda _ctx: swept)
    monkeypatch.setattr("tasks.parked.settle", fail)
    with pytest.raises(OperationalError):
        parked.sweep_parked.run()
    assert counted() == {"released": 2, "expired": 3}


def test_a_fault_in_counting_does_not_keep_a_batch_from_being_acknowledged(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def find_no_room(_drained: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("worker.telemetry.metrics.count_outcomes", find_no_room)
    push_events(redis_client, body_of(engagement("e1")))
    assert drain(ctx).parked == 1
    assert backlog(redis_client) == (0, 0)
    assert "what was recorded could not be counted" in caplog.text
