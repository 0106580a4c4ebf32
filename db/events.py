"""Events into PostgreSQL: each is written once, as attributed or as parked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from db.copying import copy_rows
from db.models import DeliveryEvent, EngagementEvent, MessageIds
from db.sql import load_queries
from db.teaching import teach

#: What both kinds of event share, in the order of the tuples in db/models.py, each with how COPY writes it.
_SHARED = {
    "event_key": "bytea",
    "event_id": "text",
    "internet_message_id": "text",
    "azure_message_id": "bytea",
    "event_timestamp": "timestamptz",
    "received_at": "timestamptz",
    "header_campaign": "text",
    "header_subscriber": "text",
}


#: Batches of up to so many events travel as parameters of the statement. It spares them the temporary table, whose
#: emptying at the commit takes longer than all the rest of a small batch; for large ones it is the faster way.
SMALL_BATCH = 100

#: The column that events are ordered by, event_key.
_KEY = itemgetter(0)


class _Side:
    """One of the two event tables: its names, and its queries for batches that were copied and for small ones."""

    def __init__(self, events: str, incoming: str, own: Sequence[str]) -> None:
        self.incoming = incoming
        self.columns = [*_SHARED, *own]
        self.types = [*_SHARED.values(), *("text" for _ in own)]
        names = {
            "events": events,
            "incoming": incoming,
            "own_columns": ", ".join(own),
            "incoming_columns": ", ".join(f"i.{column}" for column in own),
            "stored_columns": ", ".join(f"e.{column}" for column in own),
        }
        arrays = ", ".join(
            f"CAST(:{column} AS {'uuid' if kind == 'bytea' else kind}[])"
            for column, kind in zip(self.columns, self.types, strict=True)
        )
        parameters = (
            "(SELECT u.*, CAST(NULL AS integer) AS header_campaign_id, CAST(NULL AS integer) AS header_subscriber_id"  # noqa: S608 - names of ours
            f" FROM unnest({arrays}) AS u ({', '.join(self.columns)})) AS i"
        )
        self.copied = load_queries("events.sql", source=f"{incoming} AS i", **names)
        self.passed = load_queries("events.sql", source=parameters, **names)

    def parameters(self, rows: Sequence[DeliveryEvent | EngagementEvent]) -> dict[str, list[Any]]:
        """Return the columns of a small batch."""
        columns = dict(zip(self.columns, map(list, zip(*rows, strict=True)), strict=True))
        for column in ("event_key", "azure_message_id"):
            columns[column] = [None if value is None else UUID(bytes=value) for value in columns[column]]
        return columns


_INCOMING = load_queries("incoming.sql")

_DELIVERIES = _Side(
    "azure_delivery_events", "incoming_deliveries", ["status", "status_reason", "delivery_status_details"]
)
_ENGAGEMENTS = _Side(
    "azure_engagement_events", "incoming_engagements", ["engagement_type", "engagement_context", "user_agent"]
)


@dataclass(slots=True)
class Recorded:
    """What became of the events handed to `record_events`.

    ``unsettled`` are the messages to check once more after the commit: those of parked events, those that a delivery
    report taught an id, and, where there were duplicates, all of the batch.
    """

    attributed: dict[str, int] = field(default_factory=dict)
    parked: int = 0
    duplicates: int = 0
    contradictions: int = 0
    taught: int = 0
    unsettled: MessageIds = field(default_factory=MessageIds)


def record_events(
    conn: Connection,
    deliveries: Sequence[DeliveryEvent],
    engagements: Sequence[EngagementEvent],
    *,
    first_wait: timedelta,
    jitter: float,
) -> Recorded:
    """Write the events that we do not hold yet, each as attributed or as parked.

    Call it in a transaction of the caller's, and after that has committed, `db.parking.release` what is unsettled: a
    message tracked between our snapshot and our commit has found nothing to release. ``first_wait`` is the time until
    the first retry of a parked event, and strays by the fraction ``jitter`` either way.

    Raises:
        sqlalchemy.exc.DBAPIError: nothing was written; `db.errors.fault_of` tells whose fault it is.
    """
    recorded = Recorded()
    if deliveries:
        taught = teach(conn, _pairs(deliveries))
        recorded.taught = len(taught)
        recorded.unsettled |= taught
        _record(conn, _DELIVERIES, deliveries, recorded, first_wait, jitter)
    if engagements:
        _record(conn, _ENGAGEMENTS, engagements, recorded, first_wait, jitter)
    return recorded


def _pairs(deliveries: Iterable[DeliveryEvent]) -> list[tuple[str, UUID]]:
    return [
        (event.internet_message_id, UUID(bytes=event.azure_message_id))
        for event in deliveries
        if event.internet_message_id is not None and event.azure_message_id is not None
    ]


def _record(
    conn: Connection,
    side: _Side,
    events: Sequence[DeliveryEvent | EngagementEvent],
    recorded: Recorded,
    first_wait: timedelta,
    jitter: float,
) -> None:
    # Ordered by key, so that batches holding the same events insert them in the same order and cannot deadlock.
    rows = sorted(events, key=_KEY)
    parameters: dict[str, Any] = {"first_wait": first_wait, "jitter": jitter}
    echoes = any(event.header_campaign for event in events)
    if len(rows) <= SMALL_BATCH and not echoes:
        queries = side.passed
        parameters |= side.parameters(rows)
    else:
        queries = side.copied
        conn.execute(_INCOMING[f"create_{side.incoming}"])
        copy_rows(conn, side.incoming, side.columns, side.types, rows)
    if echoes:
        has_listmonk = conn.execute(queries["has_listmonk"]).scalar_one()
        conn.execute(queries["resolve_listmonk_headers" if has_listmonk else "resolve_headers"])
    new = 0
    for matched_by, count, internet_ids, azure_ids in conn.execute(queries["record_events"], parameters):
        new += count
        if matched_by is None:
            recorded.parked += count
            recorded.unsettled |= MessageIds(frozenset(internet_ids or ()), frozenset(azure_ids or ()))
        else:
            recorded.attributed[matched_by] = recorded.attributed.get(matched_by, 0) + count
    if new < len(events):
        recorded.duplicates += len(events) - new
        recorded.contradictions += conn.execute(queries["count_contradictions"], parameters).scalar_one()
        recorded.unsettled |= _message_ids(events)


def _message_ids(events: Iterable[DeliveryEvent | EngagementEvent]) -> MessageIds:
    """Return every id in ``events``: a redelivery may come from a drain killed between its commit and its re-check."""
    return MessageIds(
        frozenset(event.internet_message_id for event in events if event.internet_message_id),
        frozenset(UUID(bytes=event.azure_message_id) for event in events if event.azure_message_id),
    )
