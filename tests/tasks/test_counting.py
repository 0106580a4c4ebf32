"""The task that adds what has changed to the counts of campaigns."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.counting import LONGEST_STATEMENT, Counted
from db.counting import count_changes as count_once
from db.reporting import campaign_stats
from tasks import counting
from tasks.context import Context


def track(ctx: Context, campaign: int) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(
            text("INSERT INTO azure_message_tracking (azure_message_id, campaign_id) VALUES (gen_random_uuid(), :id)"),
            {"id": campaign},
        )


def changes(ctx: Context) -> int:
    with ctx.engine.begin() as conn:
        return int(conn.execute(text("SELECT count(*) FROM attribution_count_changes")).scalar_one())


def test_it_goes_on_until_nothing_is_left(ctx: Context) -> None:
    for campaign in range(5):
        track(ctx, campaign)
    assert changes(ctx) == 5
    assert counting.count(ctx, limit=2).changes == 5
    assert changes(ctx) == 0
    with ctx.engine.begin() as conn:
        assert [row.sent for row in campaign_stats(conn)] == [1] * 5


def test_it_recounts_each_campaign_in_a_transaction_of_its_own_and_adds_before_and_between(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for campaign in (1, 2, 3):
        track(ctx, campaign)
    with ctx.engine.begin() as conn:
        conn.execute(text("TRUNCATE azure_message_tracking"))
    for campaign in (3, 4, 5):
        track(ctx, campaign)
    done = []

    def count_and_track(engine: Engine, *, limit: int) -> Counted:
        done.append(counted := count_once(engine, limit=limit))
        track(ctx, 6)
        return counted

    monkeypatch.setattr(counting, "count_changes", count_and_track)
    assert counting.count(ctx, limit=4).recounts == 3
    assert [counted.recounts for counted in done] == [0, 1, 1, 1, 0]
    assert changes(ctx) == 1
    with ctx.engine.begin() as conn:
        assert [tuple(row)[:2] for row in campaign_stats(conn)] == [(3, 1), (4, 1), (5, 1), (6, len(done))]


def test_a_recount_that_takes_as_long_as_it_may_ends_before_the_task() -> None:
    """Two of its statements read all of a campaign's rows."""
    limit = counting.count_campaigns.soft_time_limit
    assert limit is not None
    assert timedelta(seconds=limit) > counting.COUNT_RUN + 2 * LONGEST_STATEMENT


def test_it_leaves_the_work_to_one_that_is_at_it(ctx: Context) -> None:
    track(ctx, 1)
    with ctx.engine.begin() as other:
        other.execute(text("LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE"))
        assert counting.count(ctx).changes == 0
    assert counting.count(ctx).changes == 1
