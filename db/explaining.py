"""Why a number is what it is: the facts that are stored about an event, a message, a person or a campaign.

Facts only: what they mean, in words, is the command's to say. All functions read; call them in one transaction that
`db.reporting.read_only` has begun, or what they return may be of several moments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, TextClause

from db.listmonk.tables import Listmonk, find_listmonk
from db.reporting import by_index, campaign_stats
from db.sql import load_queries

#: The two event tables, by the kind of their events.
TABLES: Final = {"delivery": "azure_delivery_events", "engagement": "azure_engagement_events"}

Facts = Mapping[str, Any]

#: The enhanced status code in what an SMTP server said.
_SMTP_STATUS = (
    r"substring(coalesce(e.status_reason, e.delivery_status_details) FROM '\m[245]\.[0-9]{1,3}\.[0-9]{1,3}\M')"
)
_OWN: Final = {
    "delivery": f"e.status, e.bounce_type, e.recipient_domain, {_SMTP_STATUS} AS smtp_status,"
    " CAST(NULL AS text) AS engagement_type, CAST(NULL AS text) AS url, CAST(NULL AS text) AS uncounted,"
    " CAST(NULL AS bigint) AS native_id, CAST(NULL AS integer) AS link_campaign_id,"
    " CAST(NULL AS integer) AS link_subscriber_id",
    "engagement": "CAST(NULL AS text) AS status, CAST(NULL AS text) AS bounce_type,"
    " CAST(NULL AS text) AS recipient_domain, CAST(NULL AS text) AS smtp_status,"
    " lower(e.engagement_type) AS engagement_type, e.engagement_context AS url, e.uncounted, e.native_id,"
    " e.link_campaign_id, e.link_subscriber_id",
}


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One event, and what else is stored about it.

    ``event`` has the columns of the query `explain_events`; ``untold`` is the webhook that has still to be told, None
    if none has. ``listmonk`` says which of its tables are in this database.
    """

    event: Facts
    incidents: Sequence[Facts]
    changes: Sequence[Facts]
    untold: Facts | None
    listmonk: Listmonk


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """One message: its tracking rows, its events, and what names it elsewhere.

    There is one tracking row, or none. ``total`` is the number of its events; ``events`` are the oldest, up to a limit.
    """

    tracked: Sequence[Facts]
    total: int
    events: Sequence[EventFacts]
    incidents: Sequence[Facts]
    quarantined: Sequence[Facts]


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """How a campaign's numbers are made up. Each list adds up to what ``stats`` says of it.

    ``views``, ``clicks`` and ``bounces`` count listmonk's rows, and are None where it has no such table.
    """

    stats: Facts
    sent: Sequence[Facts]
    reports: Sequence[Facts]
    acts: Sequence[Facts]
    views: Facts | None
    clicks: Facts | None
    bounces: Facts | None
    incidents: Mapping[str, int]
    repairs: Sequence[Facts]


class Explainer:
    """Looks facts up in one database; which of listmonk's tables it has is asked once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.listmonk = find_listmonk(conn)
        self._queries = {kind: _queries(kind, self.listmonk) for kind in TABLES}
        self._any = self._queries["engagement"]

    def find_events(self, event_id: str, *, limit: int = 20) -> list[EventFacts]:
        """Return the events with this id; an id is unique per source only, so there may be several."""
        parameters = {"event_id": event_id, "limit": limit}
        return self._facts({kind: self._ids(kind, "find_by_event_id", parameters) for kind in TABLES})

    def find_rows(self, kind: str, row: int) -> list[EventFacts]:
        """Return the event of this row; those that have no id, as the replaced system's, are known by it alone."""
        return self._facts({kind: [row]})

    def find_message(self, message: str | UUID, *, limit: int) -> MessageFacts:
        """Return what is known of a message, by its Message-ID in our spelling or by Azure's own id."""
        internet, azure = (None, message) if isinstance(message, UUID) else (message, None)
        tracked = self._rows("find_tracking", internet_message_id=internet, azure_message_id=azure)
        internet_ids = {each["internet_message_id"] for each in tracked} | {internet}
        azure_ids = {each["azure_message_id"] for each in tracked} | {azure}
        known = sorted(filter(None, internet_ids))
        parameters = {
            "internet_message_ids": known,
            "azure_message_ids": sorted(filter(None, azure_ids)),
            "limit": limit,
        }
        total = sum(self._count(kind, "count_of_message", parameters) for kind in TABLES)
        events = self._facts({kind: self._ids(kind, "find_by_message", parameters) for kind in TABLES})
        incidents = [
            incident
            for message_id in known
            for incident in self._rows("find_incidents_of_message", message_id=message_id, limit=limit)
        ]
        return MessageFacts(tracked, total, events[:limit], incidents, self.find_quarantined(str(message)))

    def find_subscriber(self, subscriber_id: int, *, limit: int) -> tuple[int, list[EventFacts]]:
        """Return how many events a subscriber has, and the newest of them, newest first."""
        parameters = {"subscriber_id": subscriber_id, "limit": limit}
        total = sum(self._count(kind, "count_of_subscriber", parameters) for kind in TABLES)
        events = self._facts({kind: self._ids(kind, "find_by_subscriber", parameters) for kind in TABLES})
        return total, events[::-1][:limit]

    def find_quarantined(self, text: str) -> list[Facts]:
        """Return the newest rows of the quarantine whose bytes hold the id ``text``, as JSON may have it.

        Only the newest 20,000 are looked at. Nobody could read them, so it is not certain that they mean this id: case
        is ignored, for one, since the domain of a Message-ID may be written in any.
        """
        return self._rows("find_quarantined", texts=_as_json(text))

    def find_campaign(self, campaign_id: int) -> CampaignFacts | None:
        """Return how a campaign's numbers are made up; None if nothing of it is known, not even a repair."""
        views = self._results("views", campaign_id) if self.listmonk.views else None
        clicks = self._results("clicks", campaign_id) if self.listmonk.clicks else None
        bounces = self._one("count_bounce_rows", campaign_id=campaign_id) if self.listmonk.bounces else None
        rows = campaign_stats(self._conn, campaigns=[campaign_id])
        repairs = self._rows("count_repairs", campaign_id=campaign_id)
        counted = [count for table in (views, clicks, bounces) if table for count in table.values()]
        if not rows and not any(counted) and not repairs:
            return None
        incidents = self._rows("count_incidents", campaign_id=campaign_id)
        return CampaignFacts(
            stats=dict(rows[0]._mapping) if rows else {"campaign_id": campaign_id},
            sent=self._rows("count_sent", campaign_id=campaign_id),
            reports=self._looked_up("count_reports", campaign_id=campaign_id),
            acts=self._looked_up("count_acts", campaign_id=campaign_id),
            views=views,
            clicks=clicks,
            bounces=bounces,
            incidents={each["kind"]: each["incidents"] for each in incidents},
            repairs=repairs,
        )

    def _results(self, results: str, campaign_id: int) -> Facts:
        names = {"views": ("campaign_views", "view"), "clicks": ("link_clicks", "click")}
        table, act = names[results]
        query = load_queries("explaining.sql", rows=table, act=act)["count_result_rows"]
        return dict(self._conn.execute(query, {"campaign_id": campaign_id}).one()._mapping)

    def _facts(self, ids: Mapping[str, Sequence[int]]) -> list[EventFacts]:
        """Return everything about the events of these rows, in the order in which they happened."""
        events = [
            dict(row._mapping)
            for kind, rows in ids.items()
            if rows
            for row in self._conn.execute(self._queries[kind]["explain_events"], {"ids": list(rows)})
        ]
        rows = {"engagements": list(ids.get("engagement", ())), "deliveries": list(ids.get("delivery", ()))}
        incidents = self._rows("find_incidents", **rows)
        untold = {(each["kind"], each["event_row"]): each for each in self._rows("find_untold", **rows)}
        changes = self._changes(events)
        events.sort(key=lambda each: (each["event_timestamp"], each["row"]))
        return [
            EventFacts(
                event=event,
                incidents=[each for each in incidents if (each["kind"], each["subject_id"]) == _subject(event)],
                changes=[each for each in changes if (each["table_name"], each["row_id"]) in _rows_of(event)],
                untold=untold.get((event["kind"], event["row"])),
                listmonk=self.listmonk,
            )
            for event in events
        ]

    def _changes(self, events: Sequence[Facts]) -> list[Facts]:
        rows = sorted({row for event in events for row in _rows_of(event)})
        tables, ids = [table for table, _ in rows], [row for _, row in rows]
        return self._rows("find_changes", table_names=tables, row_ids=ids)

    def _ids(self, kind: str, query: str, parameters: Mapping[str, Any]) -> list[int]:
        with by_index(self._conn):
            return list(self._conn.execute(self._queries[kind][query], parameters).scalars())

    def _count(self, kind: str, query: str, parameters: Mapping[str, Any]) -> int:
        with by_index(self._conn):
            return int(self._conn.execute(self._queries[kind][query], parameters).scalar_one())

    def _rows(self, query: str, **parameters: Any) -> list[Facts]:
        return [dict(row._mapping) for row in self._conn.execute(self._any[query], parameters)]

    def _looked_up(self, query: str, **parameters: Any) -> list[Facts]:
        with by_index(self._conn):
            return self._rows(query, **parameters)

    def _one(self, query: str, **parameters: Any) -> Facts:
        (row,) = self._rows(query, **parameters)
        return row


def _as_json(name: str) -> list[str]:
    """Return how JSON may have an id: never as a part of a longer one."""
    written = {json.dumps(name), json.dumps(name, ensure_ascii=False)}
    if len(name) > 2 and name.startswith("<") and name.endswith(">"):
        inner = json.dumps(name[1:-1], ensure_ascii=False)[1:-1]
        # Brackets are left away by some, and written as escapes by what fears HTML.
        written |= {f'"{inner}"', f"<{inner}>", rf"\u003c{inner}\u003e"}
    return sorted(written)


def _subject(event: Facts) -> tuple[str, int]:
    """Return the kind of incident that may be about an event, and its subject."""
    return ("keys_disagree" if event["kind"] == "engagement" else "message_id_replaced", event["row"])


def _rows_of(event: Facts) -> set[tuple[str, int]]:
    """Return the rows in which an event stands, and those that count it: table and id."""
    rows = {(TABLES[event["kind"]], event["row"])}
    if event["tracking_row"] is not None:
        rows.add(("azure_message_tracking", event["tracking_row"]))
    if event["engagement_type"] == "view":
        rows |= {("campaign_views", -event["row"]), ("campaign_views", event["native_id"] or -event["row"])}
    elif event["engagement_type"] == "click":
        rows |= {("link_clicks", -event["row"]), ("link_clicks", event["native_id"] or -event["row"])}
    return rows | {("bounces", bounce) for bounce in event["bounce_rows"]}


def _queries(kind: str, listmonk: Listmonk) -> Mapping[str, TextClause]:
    """Return the queries for the events of ``kind``. They name no table of listmonk's that is not there."""
    bounces = (
        "FROM bounces AS b WHERE b.subscriber_id = e.subscriber_id AND b.meta ->> 'event_row' = CAST(e.id AS text)"
    )
    own_row, native_row = _counts_it("-e.id", listmonk), _counts_it("e.native_id", listmonk)
    nothing, none = "CAST(NULL AS boolean)", "CAST('{}' AS bigint[])"
    bounce_rows = f"ARRAY(SELECT CAST(b.id AS bigint) {bounces} ORDER BY b.id)" if listmonk.bounces else none
    results = {
        "engagement": f"{own_row} AS has_own_row, {native_row} AS has_native_row, {none} AS bounce_rows",
        "delivery": f"{nothing} AS has_own_row, {nothing} AS has_native_row, {bounce_rows} AS bounce_rows",
    }
    return load_queries(
        "explaining.sql",
        events=TABLES[kind],
        kind=kind,
        own=_OWN[kind],
        results=results[kind],
        own_row=own_row,
        bounce_row=f"EXISTS (SELECT {bounces})" if listmonk.bounces else nothing,
    )


def _counts_it(row: str, listmonk: Listmonk) -> str:
    """Return whether listmonk's table for an event of this type has the row ``row``; NULL if it has no such table."""
    view = f"EXISTS (SELECT FROM campaign_views AS v WHERE v.id = {row})" if listmonk.views else "NULL"
    click = f"EXISTS (SELECT FROM link_clicks AS v WHERE v.id = {row})" if listmonk.clicks else "NULL"
    return f"CAST(CASE lower(e.engagement_type) WHEN 'view' THEN {view} WHEN 'click' THEN {click} END AS boolean)"
