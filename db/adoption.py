"""Adoption: a row that the replaced system stored is told which event it is, so that the event is not stored again.

Its rows have no event key; nothing but message, kind and instant says which event one is. Azure writes instants with up
to seven digits of a second. We cut the seventh off, PostgreSQL rounds it; and some rows are to the millisecond only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, TextClause

from db.giving_way import give_way
from db.models import DeliveryEvent, EngagementEvent
from db.sql import load_queries

_DELIVERIES: Final = load_queries("adoption.sql", events="azure_delivery_events", kind="status")
_ENGAGEMENTS: Final = load_queries("adoption.sql", events="azure_engagement_events", kind="engagement_type")


def _as_it_is(instant: datetime) -> datetime:
    return instant


def _up(instant: datetime) -> datetime:
    return instant + timedelta(microseconds=1)


def _cut(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _rounded(instant: datetime) -> datetime:
    return _cut(instant + timedelta(microseconds=500))


#: What the replaced system may have made of an instant, the surest match first.
_WRITINGS: Final = (_as_it_is, _up, _cut, _rounded)


def adopt_replaced(
    conn: Connection, deliveries: Sequence[DeliveryEvent], engagements: Sequence[EngagementEvent]
) -> int:
    """Give the replaced system's rows among these events their event key; return how many.

    Call it before `db.events.record_events`, in the same transaction or in one before: an event whose row was adopted
    is recorded already, and so is not recorded again. An adopted row keeps its campaign and its state; it gets the
    Message-ID if it has none. A second call adopts nothing.

    Raises:
        sqlalchemy.exc.DBAPIError: as any statement would; where a drain was faster with the same event, an error that
            passes.
    """
    adopted = 0
    give_way(conn)  # the rows' order is not that of the event keys, which a drain inserts in theirs
    for queries, events, kinds in (
        (_DELIVERIES, deliveries, [event.status for event in deliveries]),
        (_ENGAGEMENTS, engagements, [event.engagement_type for event in engagements]),
    ):
        if events and conn.execute(queries["has_unclaimed"]).scalar_one():
            adopted += sum(_adopt(conn, queries, events, kinds, write) for write in _WRITINGS)
    return adopted


def _adopt(
    conn: Connection,
    queries: Mapping[str, TextClause],
    events: Sequence[DeliveryEvent | EngagementEvent],
    kinds: Sequence[str],
    write: Callable[[datetime], datetime],
) -> int:
    instants = [write(event.event_timestamp) for event in events]
    chosen = [
        position
        for position, event in enumerate(events)
        if event.azure_message_id is not None
        and (write is _as_it_is or instants[position] != event.event_timestamp)  # else the surer match has been tried
    ]
    if not chosen:
        return 0
    some = [events[position] for position in chosen]
    parameters = {
        "event_keys": [UUID(bytes=event.event_key) for event in some],
        "event_ids": [event.event_id for event in some],
        "azure_message_ids": [UUID(bytes=event.azure_message_id or b"") for event in some],
        "internet_message_ids": [event.internet_message_id for event in some],
        "kinds": [kinds[position].lower() for position in chosen],
        "instants": [instants[position] for position in chosen],
        "received_ats": [event.received_at for event in some],
    }
    return conn.execute(queries["adopt"], parameters).rowcount


def count_stored_twice(conn: Connection) -> int:
    """Count the rows that the replaced system stored beside another of the same event. They stay as they are.

    Call it in a transaction of its own: it reads the event tables whole, and has the planner join as that needs.
    """
    stored_twice = 0
    for queries in (_DELIVERIES, _ENGAGEMENTS):
        if conn.execute(queries["has_unclaimed"]).scalar_one():
            conn.execute(queries["allow_hash_joins"])
            stored_twice += conn.execute(queries["count_stored_twice"]).scalar_one()
    return stored_twice
