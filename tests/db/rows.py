"""Rows to be varied by a test, and a look at what became of them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from db.events import Recorded, record_events
from db.models import DeliveryEvent, EngagementEvent, MessageIds, TrackedMessage
from db.parking import release

NOW = datetime.now(UTC)
FIRST_WAIT = timedelta(seconds=5)


def azure_id(number: int) -> UUID:
    return UUID(int=0x5B1E3C44_0000_4000_8000_000000000000 + number)


def click(
    event_id: str, message: str | None = "<m@example.com>", azure: UUID | None = None, **fields: Any
) -> EngagementEvent:
    return EngagementEvent(
        event_key=hashlib.md5(event_id.encode(), usedforsecurity=False).digest(),
        event_id=event_id,
        internet_message_id=message,
        azure_message_id=azure.bytes if azure else None,
        event_timestamp=NOW,
        received_at=NOW,
        header_campaign=None,
        header_subscriber=None,
        engagement_type="click",
        engagement_context="https://www.example.com/offer",
        user_agent="Mozilla/5.0",
        uncounted=None,
        recipient=None,
        link_campaign=None,
        link_subscriber=None,
    )._replace(**fields)


def report(
    event_id: str, message: str | None = "<m@example.com>", azure: UUID | None = None, **fields: Any
) -> DeliveryEvent:
    return DeliveryEvent(
        *click(event_id, message, azure)[:8],
        status="Delivered",
        status_reason=None,
        delivery_status_details=None,
        bounce_type=None,
        recipient_domain=None,
        recipient=None,
    )._replace(**fields)


def message(
    internet: str | None = "<m@example.com>", campaign: int = 7, subscriber: int | None = 12, azure: UUID | None = None
) -> TrackedMessage:
    return TrackedMessage(internet, azure.bytes if azure else None, campaign, subscriber, None, None, "http")


def record(conn: Connection, *events: EngagementEvent | DeliveryEvent, first_wait: timedelta = FIRST_WAIT) -> Recorded:
    return record_events(
        conn,
        [event for event in events if isinstance(event, DeliveryEvent)],
        [event for event in events if isinstance(event, EngagementEvent)],
        first_wait=first_wait,
        jitter=0.1,
    )


def release_in_new_transaction(engine: Engine, ids: MessageIds) -> int:
    with engine.begin() as conn:
        return release(conn, ids).events


def stored(
    engine: Engine, table: str = "azure_engagement_events"
) -> dict[str, tuple[str, int | None, int | None, str | None]]:
    """Return state, campaign, subscriber and key of each event, by its id."""
    with engine.begin() as conn:
        rows = conn.execute(text(f"SELECT event_id, state, campaign_id, subscriber_id, matched_by FROM {table}"))
        return {row.event_id: (row.state, row.campaign_id, row.subscriber_id, row.matched_by) for row in rows}
