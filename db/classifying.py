"""Events that others have stored: what we say of an event when we read it, said of them as well."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from db.bounces import BounceRules
from db.listmonk.links import uncounted_because
from db.sql import load_queries

_QUERIES = load_queries("classifying.sql")


def classify_events(
    conn: Connection, bounces: BounceRules, *, engagements: Sequence[int], deliveries: Sequence[int]
) -> None:
    """Fill in ``uncounted`` and ``bounce_type`` of these rows, where they are missing."""
    if engagements:
        conn.execute(_QUERIES["fold_types"], {"ids": list(engagements)})
        rows = conn.execute(_QUERIES["find_unclassified_engagements"], {"ids": list(engagements)})
        reasons = {row.id: uncounted_because(row.engagement_type, row.engagement_context) for row in rows}
        _set(conn, "set_uncounted", reasons)
    if deliveries:
        rows = conn.execute(_QUERIES["find_unclassified_deliveries"], {"ids": list(deliveries)})
        _set(conn, "set_bounce_types", {row.id: bounces.type_of(row.status, row.status_reason) for row in rows})


def _set(conn: Connection, query: str, values: dict[int, str | None]) -> None:
    found = {row: value for row, value in sorted(values.items()) if value is not None}
    if found:
        conn.execute(_QUERIES[query], {"ids": list(found), "values": list(found.values())})
