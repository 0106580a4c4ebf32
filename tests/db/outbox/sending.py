"""Events put into the outbox, what a sender does with a batch step by step, and a look at what is left."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from db.outbox import Failure, Webhook, count_unsent, enqueue, list_webhooks, note_delivered, note_failed, take

LEASE = timedelta(seconds=90)
HOUR = timedelta(hours=1)

_EVENT = """
INSERT INTO {table} (event_key, event_id, internet_message_id, campaign_id, subscriber_id, event_timestamp, received_at,
                     state, matched_by, attributed_at, {columns})
SELECT md5('{table}' || n)::uuid, '{table} ' || n, '<m@example.com>', 7, 12, now() - n * interval '1 s', now(),
       'attributed', 'internet_message_id', now(), {values}
  FROM generate_series(1, :count) AS n
RETURNING id
"""


def insert_engagements(conn: Connection, count: int) -> list[int]:
    statement = _EVENT.format(
        table="azure_engagement_events",
        columns="engagement_type, engagement_context, user_agent",
        values="'click', 'https://www.example.com/offer', 'Mozilla/5.0'",
    )
    return list(conn.execute(text(statement), {"count": count}).scalars())


def insert_deliveries(conn: Connection, count: int) -> list[int]:
    statement = _EVENT.format(
        table="azure_delivery_events",
        columns="status, status_reason, delivery_status_details, bounce_type",
        values="'Bounced', 'unknown user ada@example.net', '550 5.1.1 ada@example.net', 'hard'",
    )
    return list(conn.execute(text(statement), {"count": count}).scalars())


def fill(engine: Engine, *, engagements: int = 0, deliveries: int = 0) -> None:
    with engine.begin() as conn:
        enqueue(
            conn,
            engagements=insert_engagements(conn, engagements),
            deliveries=insert_deliveries(conn, deliveries),
        )


def fill_one_more(engine: Engine) -> None:
    with engine.begin() as conn:
        row = conn.execute(
            text(
                "INSERT INTO azure_engagement_events (event_key, engagement_type, campaign_id, event_timestamp, state)"
                " VALUES (gen_random_uuid(), 'view', 7, now(), 'attributed') RETURNING id"
            )
        ).scalar_one()
        enqueue(conn, engagements=[row], deliveries=[])


def taken(engine: Engine, batch: int = 500) -> Webhook | None:
    with engine.begin() as conn:
        return take(conn, batch=batch, lease=LEASE)


def sure(webhook: Webhook | None) -> Webhook:
    assert webhook is not None
    return webhook


def fail(engine: Engine, webhook: Webhook, failure: Failure = Failure.AWAY, wait: timedelta | None = HOUR) -> bool:
    with engine.begin() as conn:
        return note_failed(conn, webhook, failure=failure, error="answered 503", wait=wait)


def deliver(engine: Engine, webhook: Webhook) -> None:
    with engine.begin() as conn:
        note_delivered(conn, webhook)


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def seconds_to_next_attempt(engine: Engine, webhook: Webhook) -> float:
    with engine.begin() as conn:
        return float(
            conn.execute(
                text("SELECT extract(epoch FROM next_attempt_at - now()) FROM attribution_webhooks WHERE id = :id"),
                {"id": webhook.id},
            ).scalar_one()
        )


def unsent(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(count_unsent(conn).events)


def states(engine: Engine) -> dict[UUID, str]:
    with engine.begin() as conn:
        return {row.id: row.state for row in list_webhooks(conn, limit=100)}
