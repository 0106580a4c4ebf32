"""Sends, delivery reports and acts, stored as they are given, and the numbers that are counted from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from db.reporting import campaign_stats

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_COUNTS = {
    "sent": 0,
    "delivered": 0,
    "bounced_hard": 0,
    "bounced_soft": 0,
    "bounced_complaint": 0,
    "opens": 0,
    "unique_opens": 0,
    "clicks": 0,
    "unique_clicks": 0,
    "unsubscribe_clicks": 0,
    "parked": 0,
    "first_event_at": None,
    "last_event_at": None,
    "population_rate": None,
}


def insert(conn: Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        values = ", ".join(f":{column}" for column in row)
        conn.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)


def sent(conn: Connection, campaign: int, message: str | None = None, **columns: Any) -> None:
    insert(conn, "azure_message_tracking", {"campaign_id": campaign, "internet_message_id": message, **columns})


def attributed(campaign: int | None, **columns: Any) -> dict[str, Any]:
    return {
        "campaign_id": campaign,
        "event_timestamp": START,
        "state": "attributed",
        "matched_by": "internet_message_id",
        "created_at": START,
        "attributed_at": START,
        **columns,
    }


def act(conn: Connection, kind: str, campaign: int | None, **columns: Any) -> None:
    insert(conn, "azure_engagement_events", {"engagement_type": kind, **attributed(campaign, **columns)})


def delivery(conn: Connection, status: str, campaign: int | None, **columns: Any) -> None:
    insert(conn, "azure_delivery_events", {"status": status, **attributed(campaign, **columns)})


def stats(conn: Connection, **given: Any) -> dict[int, dict[str, Any]]:
    rows = [row._asdict() for row in campaign_stats(conn, **given)]
    assert [row["campaign_id"] for row in rows] == sorted(row["campaign_id"] for row in rows)
    return {row.pop("campaign_id"): row for row in rows}
