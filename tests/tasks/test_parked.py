"""The sweep task: due retries, and messages that another program tracked."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from sqlalchemy import text

from db.parking import Released, release
from tasks import parked, settling
from tasks.context import Context
from tests.db.rows import stored
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import drain, push_events


@pytest.fixture(autouse=True)
def _in_this_process(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.parked.context", lambda: ctx)


def park(ctx: Context, client: redis.Redis, *messages: str) -> None:
    push_events(client, *(body_of(engagement(f"of {each}", internet_message_id=each)) for each in messages))
    assert drain(ctx).parked == len(messages)


def execute(ctx: Context, statement: str) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text(statement))


def test_a_message_that_another_program_tracks_has_its_events_released_at_the_next_sweep(
    ctx: Context, redis_client: redis.Redis
) -> None:
    park(ctx, redis_client, "<a@example.com>", "<b@example.com>")
    execute(
        ctx,
        "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id, internet_message_id)"
        " VALUES (gen_random_uuid(), 7, 12, 'a@EXAMPLE.com')",
    )
    assert parked.sweep_parked.run() == "released 1"
    assert stored(ctx.engine)["of <a@example.com>"] == ("attributed", 7, 12, "internet_message_id")
    assert parked.sweep_parked.run() == "nothing due"


def test_what_is_due_is_tried_again(ctx: Context, redis_client: redis.Redis) -> None:
    park(ctx, redis_client, "<a@example.com>")
    execute(ctx, "UPDATE azure_engagement_events SET next_attempt_at = now()")
    assert parked.sweep_parked.run() == "parked again 1"
    execute(
        ctx,
        "UPDATE azure_engagement_events SET next_attempt_at = now(), created_at = now() - interval '7 days 1 second'",
    )
    assert parked.sweep_parked.run() == "expired 1"


def test_two_sweeps_at_once_do_no_more_than_one(ctx: Context, redis_client: redis.Redis) -> None:
    park(ctx, redis_client, "<a@example.com>")
    execute(ctx, "UPDATE azure_engagement_events SET next_attempt_at = now()")
    with ctx.engine.connect() as other:
        other.execute(text("SELECT 1 FROM azure_engagement_events FOR UPDATE"))
        assert parked.sweep_parked.run() == "nothing due"
    assert parked.sweep_parked.run() == "parked again 1"


def test_however_much_waits_for_foreign_rows_a_sweep_killed_half_way_leaves_the_rest_to_the_next(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    park(ctx, redis_client, *(f"<m{number}@example.com>" for number in range(8)))
    execute(
        ctx,
        "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id, internet_message_id)"
        " SELECT gen_random_uuid(), 7, 12, '<m' || n || '@example.com>' FROM generate_series(0, 7) AS n",
    )
    monkeypatch.setattr(settling, "IDS", 3)
    calls: list[int] = []

    def dies_at_the_second(*args: Any, **options: Any) -> Released:
        calls.append(1)
        if len(calls) == 2:
            raise SystemExit
        return release(*args, **options)

    with monkeypatch.context() as mortal:
        mortal.setattr(settling, "release", dies_at_the_second)
        with pytest.raises(SystemExit):
            parked.sweep_parked.run()
    states = sorted(state for state, *_ in stored(ctx.engine).values())
    assert states.count("attributed") + states.count("parked") == 8
    assert 0 < states.count("attributed") < 8
    assert parked.sweep_parked.run() == f"released {states.count('parked')}"
    assert {state for state, *_ in stored(ctx.engine).values()} == {"attributed"}
    assert parked.sweep_parked.run() == "nothing due"
