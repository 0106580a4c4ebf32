"""What listmonk's tables count, and why an event is not counted there."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Engine, text

from db.events import Recorded, record_events
from db.models import DeliveryEvent, EngagementEvent
from db.results import Results
from tests.db.rows import FIRST_WAIT

Views = list[tuple[int, int | None]]


def record(
    engine: Engine, *events: EngagementEvent | DeliveryEvent, results: Results | None = None, absorb: bool = True
) -> Recorded:
    """Record events as the pipeline does: commit, then look for native rows once more."""
    results = results or Results()
    with engine.begin() as conn:
        recorded = record_events(
            conn,
            [event for event in events if isinstance(event, DeliveryEvent)],
            [event for event in events if isinstance(event, EngagementEvent)],
            first_wait=FIRST_WAIT,
            jitter=0.1,
            results=results,
        )
    if absorb:
        with engine.begin() as conn:
            results.absorb_native(conn, recorded.engagements)
    return recorded


def watch(engine: Engine, results: Results | None = None) -> int:
    with engine.begin() as conn:
        return (results or Results()).watch_native(conn).absorbed


def views(listmonk: psycopg.Connection[Any]) -> list[tuple[int, int | None]]:
    """Return campaign and subscriber of each view counted."""
    return listmonk.execute("SELECT campaign_id, subscriber_id FROM campaign_views ORDER BY 1, 2 NULLS LAST").fetchall()


def clicks(listmonk: psycopg.Connection[Any]) -> list[tuple[int, int | None, str]]:
    """Return campaign, subscriber and URL of each click counted."""
    return listmonk.execute(
        "SELECT campaign_id, subscriber_id, url FROM link_clicks JOIN links ON links.id = link_id ORDER BY 1, 2, 3"
    ).fetchall()


def uncounted(engine: Engine) -> dict[str, tuple[str | None, int | None]]:
    """Return of each event why no row of ours counts it, and the native row that does instead."""
    with engine.begin() as conn:
        rows = conn.execute(text("SELECT event_id, uncounted, native_id FROM azure_engagement_events"))
        return {row.event_id: (row.uncounted, row.native_id) for row in rows}
