"""Rows of a case made by hand, as the replaced system wrote them, and a look at what became of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.db.rows import azure_id
from tests.repair.conftest import Site

AT = datetime(2026, 1, 9, 10, 26, 32, 123457, tzinfo=UTC)
WRITTEN = AT + timedelta(seconds=2, microseconds=5)
SECOND = timedelta(seconds=1)
OFFER = "https://www.example.com/offer"
#: Who a message is of, and whom the guess credited.
TRUE, WRONG, READER = 65, 64, 12


def track(site: Site, message: str | None, campaign: int = TRUE, reader: int | None = READER, azure: int = 0) -> None:
    site.change(
        "INSERT INTO azure_message_tracking"
        " (internet_message_id, azure_message_id, campaign_id, subscriber_id, tracked_via)"
        " VALUES (%s, %s, %s, %s, 'imported')",
        message,
        azure_id(azure) if azure else None,
        campaign,
        reader,
    )


def event(
    site: Site,
    message: str | None = "<m@example.com>",
    kind: str = "view",
    *,
    campaign: int = WRONG,
    reader: int | None = READER,
    azure: int = 0,
    at: datetime = AT,
    written: datetime = WRITTEN,
    url: str = "",
    **columns: object,
) -> int:
    """Store an event as the replaced system did, credited to ``campaign``; return its row id."""
    columns = {"matched_by": "replaced_system", **columns}
    names = ", ".join(columns)
    values = ", ".join("%s" for _ in columns)
    own = ("engagement_type", "engagement_context") if kind in ("view", "click") else ("status", "status_reason")
    table = "azure_engagement_events" if kind in ("view", "click") else "azure_delivery_events"
    return int(
        site.rows(
            f"INSERT INTO {table} (internet_message_id, azure_message_id, campaign_id, subscriber_id, event_timestamp,"
            f" created_at, state, {own[0]}, {own[1]}, {names})"
            f" VALUES (%s, %s, %s, %s, %s, %s, 'attributed', %s, %s, {values}) RETURNING id",
            message,
            azure_id(azure) if azure else None,
            campaign,
            reader,
            at,
            written,
            kind,
            url,
            *columns.values(),
        )[0][0]
    )


def view(
    site: Site, campaign: int = WRONG, reader: int | None = READER, at: datetime = AT, row: int | None = None
) -> int:
    """Count a view: the replaced system's, or listmonk's own, which look the same, or, with ``row``, one of ours."""
    return int(
        site.rows(
            "INSERT INTO campaign_views (id, campaign_id, subscriber_id, created_at)"
            " VALUES (coalesce(%s, nextval('campaign_views_id_seq')), %s, %s, %s) RETURNING id",
            row,
            campaign,
            reader,
            at,
        )[0][0]
    )


def clicked(site: Site, url: str = OFFER, campaign: int = WRONG, at: datetime = AT) -> int:
    return int(
        site.rows(
            "WITH link AS (INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), %s)"
            " ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id)"
            " INSERT INTO link_clicks (campaign_id, link_id, subscriber_id, created_at)"
            " SELECT %s, id, %s, %s FROM link RETURNING id",
            url,
            campaign,
            READER,
            at,
        )[0][0]
    )


def credited(site: Site, table: str = "azure_engagement_events") -> dict[int, tuple[Any, ...]]:
    """Return campaign, reader and key of each event."""
    rows = site.rows(f"SELECT id, campaign_id, subscriber_id, matched_by::text FROM {table}")
    return {row[0]: tuple(row[1:]) for row in rows}


def counted(site: Site, table: str = "campaign_views") -> dict[int, tuple[int, int | None]]:
    """Return campaign and reader of each row that counts something."""
    return {row[0]: (row[1], row[2]) for row in site.rows(f"SELECT id, campaign_id, subscriber_id FROM {table}")}


def counted_by(site: Site, event_id: int) -> tuple[str | None, int | None]:
    row = site.rows("SELECT uncounted, native_id FROM azure_engagement_events WHERE id = %s", event_id)[0]
    return row[0], row[1]
