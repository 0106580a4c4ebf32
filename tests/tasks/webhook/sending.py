"""The outbox filled, the sender run once, and a look at the batches that are left."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from db.outbox import enqueue, list_webhooks
from tasks import webhook


def run() -> str:
    return str(webhook.send_webhooks.run())


def fill(engine: Engine, count: int = 1, **columns: str) -> None:
    """Attribute so many clicks; ``columns`` replace what is stored of them."""
    values = {
        "internet_message_id": "<m@example.com>",
        "engagement_context": "https://www.example.com/offer?a=1",
        "user_agent": "Mozilla/5.0",
    } | columns
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "INSERT INTO azure_engagement_events (event_key, event_id, engagement_type, campaign_id, subscriber_id,"
                " event_timestamp, received_at, attributed_at, state, matched_by,"
                " internet_message_id, engagement_context, user_agent)"
                " SELECT gen_random_uuid(), 'e' || n, 'click', 7, 12, now(), now(), now(), 'attributed',"
                " 'internet_message_id', :internet_message_id, :engagement_context, :user_agent"
                " FROM generate_series(1, :count) AS n RETURNING id"
            ),
            {"count": count, **values},
        ).scalars()
        enqueue(conn, engagements=list(rows), deliveries=[])


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def make_due(engine: Engine) -> None:
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now(), leased_until = NULL")


def kept(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(list_webhooks(conn, limit=1000))


def only(engine: Engine) -> Any:
    (row,) = kept(engine)
    return row


def wait_of(row: Any) -> float:
    """Return the seconds from an attempt that failed to the next one."""
    return float((row.next_attempt_at - row.last_attempt_at).total_seconds())
