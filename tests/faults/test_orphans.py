"""listmonk's database holds tracking rows of campaigns that are gone, from before the foreign keys were there."""

from __future__ import annotations

import psycopg
import pytest
import redis

from tasks import parked
from tasks.context import Context
from tests.db.rows import stored
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import drain, push_events


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    with psycopg.connect(listmonk_database_url) as connection:
        # As the migration leaves it where rows point nowhere.
        connection.execute(
            "ALTER TABLE azure_message_tracking DROP CONSTRAINT azure_message_tracking_campaign_id_fkey,"
            " ADD CONSTRAINT azure_message_tracking_campaign_id_fkey FOREIGN KEY (campaign_id)"
            " REFERENCES campaigns (id) ON DELETE CASCADE NOT VALID"
        )
    return listmonk_database_url


def foreign_row(listmonk_database_url: str, message: str, campaign: int) -> None:
    """Write a tracking row as another program does; where its campaign is gone, as if that had been there then."""
    with psycopg.connect(listmonk_database_url) as connection:
        connection.execute("SET session_replication_role = replica" if campaign > 100 else "SELECT 1")
        connection.execute(
            "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, internet_message_id)"
            " VALUES (gen_random_uuid(), %s, %s)",
            [campaign, message],
        )


def test_the_sweep_does_not_stand_still_before_orphaned_tracking_rows(
    ctx: Context, redis_client: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.parked.context", lambda: ctx)
    names = ["orphan-1", "orphan-2", *(f"fine-{number}" for number in range(5))]
    for name in names:
        body = body_of(engagement(name, internet_message_id=f"<{name}@example.com>", engagementType="view"))
        push_events(redis_client, body)
    drain(ctx)
    for name in names:  # the orphans come first in any order of ids
        foreign_row(database_url, f"<{name}@example.com>", 999 if name.startswith("orphan") else 7)
    for _ in range(3):
        parked.sweep_parked.run()
    states = {name: state for name, (state, *_) in stored(ctx.engine).items()}
    assert {states[name] for name in names if name.startswith("fine")} == {"attributed"}
    assert {states[name] for name in names if name.startswith("orphan")} <= {"parked", "expired"}
    with psycopg.connect(database_url) as look:
        assert look.execute("SELECT count(*) FROM campaign_views").fetchone() == (5,)
        left = look.execute("SELECT count(*) FROM azure_message_tracking WHERE tracked_via IS NULL").fetchone()
    assert left == (0,)

    foreign_row(database_url, "<later@example.com>", 7)
    push_events(redis_client, body_of(engagement("later", internet_message_id="<later@example.com>")))
    drain(ctx)
    parked.sweep_parked.run()
    assert stored(ctx.engine)["later"][0] == "attributed"
