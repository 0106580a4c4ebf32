"""The replaced system's log: what it received is imported, and what it stored is adopted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from tasks.imports.webhook_logs import NoWebhookLogs, WebhookLogs
from tests.tasks.imports.importing import EVENTS, ONE, attributed, events, run, track, twice
from tests.tasks.payloads import AZURE_MESSAGE_ID, body_of, delivery, engagement
from worker.settings import WorkerSettings


def log(engine: Engine, body: str | bytes | None, *, webhook_type: str = "azure", at: datetime | None = None) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("INSERT INTO webhook_logs (webhook_type, request_body, created_at) VALUES (:type, :body, :at)"),
            {"type": webhook_type, "body": body.decode() if isinstance(body, bytes) else body, "at": at},
        )


def old_row(engine: Engine, campaign: int | None, at: str = "2026-01-10T10:26:40.12Z") -> None:
    """Store a click as the replaced system's handler did, and may go on doing."""
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_engagement_events (azure_message_id, campaign_id, engagement_type, event_timestamp)"
                " VALUES (:message, :campaign, 'click', :at)"
            ),
            {"message": AZURE_MESSAGE_ID, "campaign": campaign, "at": at},
        )


def test_webhook_logs_are_imported_once_and_what_is_none_of_ours_is_skipped(
    taken_over: Engine, old_settings: WorkerSettings
) -> None:
    engine, settings = taken_over, old_settings
    track(engine, ONE, campaign=3)
    logged_at = datetime(2026, 1, 10, 10, 30, tzinfo=UTC)
    log(engine, body_of(EVENTS[0], delivery("d1", internet_message_id=ONE)), at=logged_at)
    log(engine, body_of({"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}))
    log(engine, body_of(EVENTS[1]), webhook_type="eventgrid", at=logged_at)
    log(engine, '{"Type": "Notification", "Message": "a bounce of another service"}', webhook_type="ses")
    log(engine, None)
    log(engine, body_of(EVENTS[2])[:-10], at=logged_at)
    log(engine, body_of(EVENTS[0]), at=logged_at)  # Event Grid sent it twice
    imported = twice(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert imported.drained.attributed == {"internet_message_id": 3}
    assert (imported.skipped, imported.known) == (3, 1)
    assert imported.drained.quarantined == {"not_json": 1}
    assert {at for _, at, _ in events(engine).values()} == {logged_at}
    log(engine, body_of(EVENTS[3]), at=logged_at)
    more = run(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert (more.bodies, attributed(more), more.known) == (1, 1, 0)


def test_what_the_replaced_system_stored_is_adopted_and_not_stored_again(
    taken_over: Engine, old_settings: WorkerSettings
) -> None:
    engine, settings = taken_over, old_settings
    track(engine, ONE, campaign=3)
    old_row(engine, campaign=1)  # credited to the wrong campaign: for a repair to put right
    old_row(engine, campaign=1)  # and stored once more
    old_row(engine, campaign=None, at="2026-01-10T10:27:00.123Z")  # the replaced system cut what was .123456
    log(
        engine,
        body_of(
            EVENTS[0], engagement("e1", internet_message_id=ONE, userActionTimestamp="2026-01-10T10:27:00.123456Z")
        ),
    )
    log(engine, body_of(engagement("e2", internet_message_id=ONE, userActionTimestamp="2026-01-10T10:28:00Z")))
    imported = twice(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert (imported.adopted, imported.stored_twice, imported.known) == (2, 1, 0)
    assert (attributed(imported), imported.drained.released) == (1, 1)
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT event_id, campaign_id, internet_message_id, matched_by FROM azure_engagement_events ORDER BY id"
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        ("e0", 1, ONE, "replaced_system"),
        (None, 1, None, "replaced_system"),
        ("e1", 3, ONE, "internet_message_id"),
        ("e2", 3, ONE, "internet_message_id"),
    ]


def test_a_log_is_read_in_batches_that_fit_into_memory(
    taken_over: Engine, old_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cutting.BATCH_BYTES", 2000)
    monkeypatch.setattr("tasks.imports.webhook_logs._LISTED", 3)
    for number in range(10):
        log(taken_over, body_of(engagement(f"e{number}")))
    pieces = list(WebhookLogs(taken_over).read(4))
    assert [piece.position for piece in pieces] == [5, 6, 7, 8, 9, 10]
    assert run(taken_over, old_settings, {"webhook_logs": WebhookLogs(taken_over)}).drained.parked == 10


def test_a_database_without_the_log_is_refused(engine: Engine) -> None:
    with pytest.raises(NoWebhookLogs):
        WebhookLogs(engine).newest()
