"""Malformed events and trackings, kept as they came, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from db.models import Malformed
from db.sql import load_queries

_QUERIES = load_queries("quarantine.sql")


def quarantine(conn: Connection, malformed: Sequence[Malformed]) -> int:
    """Keep ``malformed``; return how many were new. Bytes that are there already stay once, with their first reason."""
    if not malformed:
        return 0
    rows = sorted(malformed, key=lambda part: part.content_key)
    parameters = {
        "content_keys": [UUID(bytes=part.content_key) for part in rows],
        "kinds": [part.kind for part in rows],
        "reasons": [part.reason for part in rows],
        "details": [part.detail for part in rows],
        "bodies": [part.body for part in rows],
        "entry_ids": [part.entry_id for part in rows],
        "received_ats": [part.received_at for part in rows],
    }
    return conn.execute(_QUERIES["quarantine"], parameters).rowcount


def count_by_reason(conn: Connection) -> Sequence[Row[Any]]:
    """Return kind, reason, bodies and latest_received_at of all that is kept."""
    return conn.execute(_QUERIES["count_by_reason"]).all()


def list_quarantine(conn: Connection, *, reason: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return up to ``limit`` rows, newest first, without their bodies."""
    return conn.execute(_QUERIES["list_quarantine"], {"reason": reason, "limit": limit}).all()


def show_body(conn: Connection, quarantine_id: int) -> bytes | None:
    """Return the bytes of one row, or None if there is no such row."""
    body = conn.execute(_QUERIES["show_body"], {"id": quarantine_id}).scalar()
    return None if body is None else bytes(body)
