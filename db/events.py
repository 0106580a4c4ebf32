"""Events into PostgreSQL: each is written once, as attributed or as parked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause

from db.copying import copy_rows
from db.models import DeliveryEvent, EngagementEvent, MessageIds
from db.results import Results
from db.sql import load_queries
from db.teaching import find_learned, teach

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
    """One of the two event tables: its names, and its queries for batches that were copied and for small ones.

    ``own`` are the columns that only this kind of event has, ``linked`` those of them that name rows of listmonk's by
    their UUIDs, and are stored resolved.
    """

    def __init__(self, events: str, incoming: str, own: Sequence[str], linked: Sequence[str] = ()) -> None:
        self.incoming = incoming
        kinds = _SHARED | dict.fromkeys(own, "text") | dict.fromkeys(linked, "bytea")
        self.columns = list(kinds)
        self.types = list(kinds.values())
        arrays = ", ".join(
            f"CAST(:{column} AS {'uuid' if kind == 'bytea' else kind}[])" for column, kind in kinds.items()
        )
        parameters = (
            "(SELECT u.*, CAST(NULL AS integer) AS header_campaign_id, CAST(NULL AS integer) AS header_subscriber_id"  # noqa: S608 - names of ours
            f" FROM unnest({arrays}) AS u ({', '.join(self.columns)})) AS i"
        )
        names = {"events": events, "incoming": incoming} | _compared(own)
        self._uuids = [column for column, kind in kinds.items() if kind == "bytea"]
        self._queries = {
            (copied, listmonk): load_queries(
                "events.sql",
                source=f"{incoming} AS i" if copied else parameters,
                **_own_columns(own, linked, listmonk=listmonk),
                **names,
            )
            for copied in (True, False)
            for listmonk in (True, False)
        }

    def queries(self, *, copied: bool, listmonk: bool) -> Mapping[str, TextClause]:
        """Return the queries for a batch that was ``copied`` or is passed, inside ``listmonk``'s database or not."""
        return self._queries[copied, listmonk]

    def parameters(self, rows: Sequence[DeliveryEvent | EngagementEvent]) -> dict[str, list[Any]]:
        """Return the columns of a small batch."""
        columns = dict(zip(self.columns, map(list, zip(*rows, strict=True)), strict=True))
        for column in self._uuids:
            columns[column] = [None if value is None else UUID(bytes=value) for value in columns[column]]
        return columns


def _compared(own: Sequence[str]) -> dict[str, str]:
    """Return the columns in which a duplicate may contradict what we hold: what Azure said, not what we made of it."""
    said = [column for column in own if column not in ("uncounted", "bounce_type", "recipient")]
    return {
        "incoming_columns": ", ".join(f"i.{column}" for column in said),
        "stored_columns": ", ".join(f"e.{column}" for column in said),
    }


def _own_columns(own: Sequence[str], linked: Sequence[str], *, listmonk: bool) -> dict[str, str]:
    """Return the columns that one kind of event has, and what is written into them."""
    link = {
        "link_campaign_id": "CAST(NULL AS integer)",
        "link_subscriber_id": "CAST(NULL AS integer)",
        "link_joins": "",
    }
    resolved = listmonk and linked
    if resolved:
        link = {
            "link_campaign_id": "lc.id",
            "link_subscriber_id": "ls.id",
            "link_joins": "LEFT JOIN campaigns AS lc ON lc.uuid = i.link_campaign"
            " LEFT JOIN subscribers AS ls ON ls.uuid = i.link_subscriber",
        }
    return link | {
        "own_columns": ", ".join([*own, *(["link_campaign_id", "link_subscriber_id"] if resolved else [])]),
        "own_values": ", ".join([*(f"i.{column}" for column in own), *(["lc.id", "ls.id"] if resolved else [])]),
    }


_INCOMING = load_queries("incoming.sql")

_DELIVERIES = _Side(
    "azure_delivery_events",
    "incoming_deliveries",
    ["status", "status_reason", "delivery_status_details", "bounce_type", "recipient_domain", "recipient"],
)
_ENGAGEMENTS = _Side(
    "azure_engagement_events",
    "incoming_engagements",
    ["engagement_type", "engagement_context", "user_agent", "uncounted", "recipient"],
    linked=["link_campaign", "link_subscriber"],
)


@dataclass(slots=True)
class Recorded:
    """What became of the events handed to `record_events`.

    ``unsettled`` are the messages to check once more after the commit: those of parked events, those that a delivery
    report taught an id, and, where there were duplicates, all of the batch. ``engagements`` are the rows of the views
    and clicks that were attributed, to be handed to `Results.absorb_native` then.
    """

    attributed: dict[str, int] = field(default_factory=dict)
    parked: int = 0
    duplicates: int = 0
    contradictions: int = 0
    taught: int = 0
    unsettled: MessageIds = field(default_factory=MessageIds)
    engagements: list[int] = field(default_factory=list)


def record_events(
    conn: Connection,
    deliveries: Sequence[DeliveryEvent],
    engagements: Sequence[EngagementEvent],
    *,
    first_wait: timedelta,
    jitter: float,
    results: Results | None = None,
    run_id: int | None = None,
) -> Recorded:
    """Write the events that we do not hold yet, each as attributed or as parked, and the ``results`` of the former.

    Call it in a transaction of the caller's, and after that has committed, `db.parking.release` what is unsettled: a
    message tracked between our snapshot and our commit has found nothing to release. ``first_wait`` is the time until
    the first retry of a parked event, and strays by the fraction ``jitter`` either way. ``run_id`` is the run that
    brings the events, if it is not the stream.

    Raises:
        sqlalchemy.exc.DBAPIError: nothing was written; `db.errors.fault_of` tells whose fault it is.
    """
    results = results or Results()
    listmonk = results.listmonk(conn).present
    parameters = {"first_wait": first_wait, "jitter": jitter, "run_id": run_id}
    recorded = Recorded()
    attributed: list[int] = []
    if deliveries:
        attributed = _record(conn, _DELIVERIES, deliveries, recorded, parameters, listmonk=listmonk)
        # Behind the reports, so that none is attributed to a message that was tracked after it had found none to teach;
        # and before what it may teach us to attribute.
        taught = _teach(conn, deliveries)
        recorded.taught = len(taught)
        recorded.unsettled |= taught
    if engagements:
        recorded.engagements = _record(conn, _ENGAGEMENTS, engagements, recorded, parameters, listmonk=listmonk)
    results.write(
        conn,
        deliveries=attributed,
        engagements=recorded.engagements,
        linked=any(event.link_campaign for event in engagements),
        bounced=any(event.bounce_type for event in deliveries),
    )
    return recorded


def _teach(conn: Connection, deliveries: Iterable[DeliveryEvent]) -> MessageIds:
    pairs: list[tuple[str, UUID]] = []
    event_keys: list[bytes] = []
    for event in deliveries:
        if event.internet_message_id is not None and event.azure_message_id is not None:
            pairs.append((event.internet_message_id, UUID(bytes=event.azure_message_id)))
            event_keys.append(event.event_key)
    return teach(conn, pairs, event_keys)


def _record(
    conn: Connection,
    side: _Side,
    events: Sequence[DeliveryEvent | EngagementEvent],
    recorded: Recorded,
    parameters: Mapping[str, Any],
    *,
    listmonk: bool,
) -> list[int]:
    """Write one kind of events, add up what became of them, and return the rows of those that are attributed."""
    # Ordered by key, so that batches holding the same events insert them in the same order and cannot deadlock.
    rows = sorted(events, key=_KEY)
    echoes = any(event.header_campaign for event in events)
    copied = len(rows) > SMALL_BATCH or echoes
    queries = side.queries(copied=copied, listmonk=listmonk)
    if copied:
        conn.execute(_INCOMING[f"create_{side.incoming}"])
        copy_rows(conn, side.incoming, side.columns, side.types, rows)
    else:
        parameters = {**parameters, **side.parameters(rows)}
    if echoes:
        conn.execute(queries["resolve_listmonk_headers" if listmonk else "resolve_headers"])
    new = 0
    attributed: list[int] = []
    for matched_by, count, ids, internet_ids, azure_ids in conn.execute(queries["record_events"], parameters):
        new += count
        if matched_by is None:
            recorded.parked += count
            recorded.unsettled |= MessageIds(frozenset(internet_ids or ()), frozenset(azure_ids or ()))
        else:
            recorded.attributed[matched_by] = recorded.attributed.get(matched_by, 0) + count
            attributed += ids
    if new < len(events):
        recorded.duplicates += len(events) - new
        recorded.contradictions += conn.execute(queries["count_contradictions"], parameters).scalar_one()
        ids = _message_ids(events)
        recorded.unsettled |= ids | find_learned(conn, ids)
    return attributed


def _message_ids(events: Iterable[DeliveryEvent | EngagementEvent]) -> MessageIds:
    """Return every id in ``events``: a redelivery may come from a drain killed between its commit and its re-check."""
    return MessageIds(
        frozenset(event.internet_message_id for event in events if event.internet_message_id),
        frozenset(UUID(bytes=event.azure_message_id) for event in events if event.azure_message_id),
    )
