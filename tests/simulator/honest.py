"""A ledger of traffic that went well, and the rows that a system without fault would have written of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import LiteralString

import psycopg

from simulator import listmonk
from simulator.acs import Event
from simulator.pixel import Firing
from simulator.scenario import Step, Track
from simulator.truth import ENGAGEMENTS, Answered, Fate, Native, Record, Sent, Tracked, Truth

ENGAGEMENT: LiteralString = """
INSERT INTO azure_engagement_events
  (event_key, event_id, engagement_type, event_timestamp, state, campaign_id, subscriber_id, internet_message_id)
VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, '<m@example.com>') RETURNING id
"""
DELIVERY: LiteralString = """
INSERT INTO azure_delivery_events
  (event_key, event_id, status, event_timestamp, state, campaign_id, subscriber_id, internet_message_id)
VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, '<m@example.com>') RETURNING id
"""
VIEW: LiteralString = "INSERT INTO campaign_views (id, campaign_id, subscriber_id, created_at) VALUES (%s, %s, %s, %s)"
CLICK: LiteralString = (
    "INSERT INTO link_clicks (id, campaign_id, subscriber_id, created_at, link_id) VALUES (%s, %s, %s, %s, %s)"
)
BOUNCE: LiteralString = (
    "INSERT INTO bounces (campaign_id, subscriber_id, type, created_at, source) VALUES (%s, %s, %s, %s, 'azure')"
)


def ledger(steps: Iterable[Step], *first: Record) -> Truth:
    """Write down traffic that was wholly tracked and acknowledged, some of it twice. Native acts are rows 1, 2, ..."""
    truth = Truth.of(first)
    individual = truth.listmonk is not None and truth.listmonk.individual_tracking
    for step in steps:
        match step.action:
            case Sent() as message:
                truth.write_down(message)
            case Track(message=message, ids=ids):
                truth.write_down(Tracked(message.internet_message_id, ids, door="http", confirmed=True))
            case Event(truth=emitted):
                truth.write_down(emitted)
                for _ in range(1 + (emitted.event_id < "4")):
                    truth.write_down(Answered((emitted.event_id,), acknowledged=True))
            case Firing() as act:
                reader = act.subscriber_id if individual else None
                row = len(truth.native) + 1
                truth.write_down(Native(row, act.what, act.campaign_id, reader, act.link, act.at, act.event_id))
    return truth


def store(connection: psycopg.Connection, truth: Truth) -> None:
    """Write the rows that a system without fault would have written, and listmonk's own."""
    for act in truth.native:
        _count(connection, act.row_id, act.campaign_id, act.subscriber_id, act.link, act.at)
    if truth.native:  # listmonk goes on counting behind its last row
        for table in ("campaign_views", "link_clicks"):
            connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (table, truth.native[-1].row_id))
    native = {act.event_id for act in truth.native}
    for expected in truth.expectations():
        event, message = expected.event, expected.message
        if Fate.QUARANTINED in expected.fates:
            connection.execute(
                "INSERT INTO attribution_quarantine (content_key, kind, reason, body)"
                " VALUES (gen_random_uuid(), 'event', 'test', %s)",
                (b'{"id":"' + event.event_id.encode() + b'","id again":"' + event.event_id.encode() + b'"}',),
            )
        elif expected.fates in ({Fate.ATTRIBUTED}, {Fate.WAITING}):
            credited = message if Fate.ATTRIBUTED in expected.fates else None
            columns = (
                event.event_id,
                event.what.capitalize(),
                event.at,
                "attributed" if credited else "parked",
                credited and credited.campaign_id,
                credited and credited.subscriber_id,
            )
            row = connection.execute(ENGAGEMENT if event.what in ENGAGEMENTS else DELIVERY, columns).fetchone()
            if truth.listmonk and credited and row and event.at and event.event_id not in native:
                reader = credited.subscriber_id
                if event.table == "bounces" and reader is not None:
                    connection.execute(BOUNCE, (credited.campaign_id, reader, event.bounce, event.at))
                elif event.table in ("campaign_views", "link_clicks"):
                    named = reader if truth.listmonk.individual_tracking else None
                    _count(connection, -row[0], credited.campaign_id, named, event.link, event.at)


def _count(
    connection: psycopg.Connection, row: int, campaign: int, reader: int | None, url: str | None, at: datetime
) -> None:
    if url is None:
        connection.execute(VIEW, (row, campaign, reader, at))
    else:
        connection.execute(CLICK, (row, campaign, reader, at, listmonk.link(connection, url)))
