"""`attribution why` tells of imports, replays, repairs, and of what the webhook has not been told."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from db.results import Results
from tests.cli.why.asking import execute, row_of, said, timeline
from tests.db.listmonk.acts import track, view
from tests.db.listmonk.counts import record
from tests.db.rows import message, report


@pytest.mark.parametrize(
    ("kind", "received", "recorded"),
    [
        (None, "received from Event Grid", "recorded"),
        ("replay", "received from Event Grid, and archived", "recorded, by replay run 1"),
        ("import", "received from Event Grid, as the import dates it", "recorded, by import run 1"),
        ("forgotten", "received from Event Grid", "recorded, by run 1, which is forgotten"),
    ],
)
def test_an_event_that_a_run_brought_names_the_run_and_whose_time_of_receipt_it_has(
    engine: Engine, kind: str | None, received: str, recorded: str
) -> None:
    track(engine)
    record(engine, view("v"))
    if kind and kind != "forgotten":
        execute(engine, "INSERT INTO attribution_runs (kind, parameters) VALUES (:kind, '{}')", kind=kind)
    if kind:
        execute(engine, "UPDATE azure_engagement_events SET run_id = 1")
    told = timeline("v")
    assert (told["received"], told["recorded"]) == (received, recorded)


def test_a_row_of_the_replaced_system_is_not_said_to_be_recorded_by_us(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO azure_engagement_events (azure_message_id, campaign_id, engagement_type, event_timestamp)"
        " VALUES (gen_random_uuid(), 7, 'view', now())",
    )
    assert timeline("engagement:1")["recorded"] == "recorded by the replaced system"
    execute(engine, "UPDATE azure_engagement_events SET event_key = gen_random_uuid(), received_at = now()")
    told = timeline("engagement:1")
    assert told["recorded"] == "recorded by the replaced system"
    assert told["received"] == "received by the replaced system, as the import dates it that knew the event again"


def test_a_message_that_a_replay_tracked_says_so(engine: Engine) -> None:
    track(engine, message()._replace(tracked_via="replay"))
    assert "by a replay of the archive, for campaign 7" in said("<m@example.com>")


def test_what_a_repair_changed_and_that_it_was_undone(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"))
    row = row_of(engine, "v")
    execute(engine, "INSERT INTO attribution_runs (kind, parameters) VALUES ('repair', '{}')")
    for table, row_id in (("azure_engagement_events", row), ("campaign_views", -row)):
        execute(
            engine,
            "INSERT INTO attribution_journal (run_id, table_name, row_id, was, became, reason)"
            " VALUES (1, :t, :row, CAST(:was AS jsonb), CAST(:became AS jsonb), 'message_id')",
            was='{"campaign_id": 64, "subscriber_id": 12}',
            became='{"campaign_id": 7, "subscriber_id": 12}',
            t=table,
            row=row_id,
        )
    shown = said("v")
    assert f"repair run 1 changed row {row} of azure_engagement_events: campaign 64 → 7 (message_id)" in shown
    assert f"repair run 1 changed row {-row} of campaign_views: campaign 64 → 7 (message_id)" in shown
    assert "undone" not in shown
    assert "repair run 1: +1 -0 rows of campaign_views" in said("campaign:7")
    execute(engine, "UPDATE attribution_journal SET undone_at = now()")
    assert timeline("v")["undone"] == "repair run 1 was undone"
    assert "repair run 1: +0 -1 rows of campaign_views (undone since)" in said("campaign:64")


def test_what_the_webhook_has_not_been_told(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"), report("d"), results=Results(webhook=True))
    assert timeline("v")["webhook"] == "the webhook has not been told: waits in the outbox"
    execute(engine, "DELETE FROM attribution_outbox WHERE kind = 'engagement'")
    assert "webhook" not in timeline("v")
    execute(
        engine,
        "INSERT INTO attribution_webhooks (id, engagements, deliveries, state, attempts)"
        " SELECT gen_random_uuid(), ARRAY[id], '{}', 'given_up', 9 FROM azure_engagement_events",
    )
    assert timeline("v")["webhook"] == "the webhook has not been told: given up, after 9 times"
