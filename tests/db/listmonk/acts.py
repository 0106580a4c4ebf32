"""Messages and readers' acts to be varied by a test in listmonk's database, and the incidents they make."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Engine

from db.tracking import track_messages
from tests.db.rows import click, message

Listmonk = psycopg.Connection[Any]
OFFER = "https://www.example.com/offer"
LOST = "<lost@example.com>"


def track(engine: Engine, *messages: Any) -> None:
    with engine.begin() as conn:
        track_messages(conn, messages or [message()])


def view(event_id: str, message: str | None = "<m@example.com>", **fields: Any) -> Any:
    return click(event_id, message, **{"engagement_type": "view", "engagement_context": ""} | fields)


def incidents(listmonk: Listmonk) -> list[tuple[str, dict[str, Any]]]:
    return listmonk.execute("SELECT kind, details FROM attribution_incidents ORDER BY id").fetchall()


def link_uuids(listmonk: Listmonk, campaign: int, subscriber: int) -> dict[str, Any]:
    """Return what a link of listmonk's, clicked, tells of its campaign and its reader."""
    row = listmonk.execute(
        "SELECT c.uuid, s.uuid FROM campaigns AS c, subscribers AS s WHERE c.id = %s AND s.id = %s",
        [campaign, subscriber],
    ).fetchone()
    assert row is not None
    return {"link_campaign": row[0].bytes, "link_subscriber": row[1].bytes}
