"""The task that adds what has changed to the counts of campaigns."""

from __future__ import annotations

from sqlalchemy import text

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


def test_it_leaves_the_work_to_one_that_is_at_it(ctx: Context) -> None:
    track(ctx, 1)
    with ctx.engine.begin() as other:
        other.execute(text("LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE"))
        assert counting.count(ctx).changes == 0
    assert counting.count(ctx).changes == 1
