"""Where a person is in the database: what is known of him, and the rows that are his or name him."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row

from db.journal import BOUNCES, CLICKS, DELIVERIES, ENGAGEMENTS, TRACKING, VIEWS
from db.listmonk.tables import Listmonk
from db.sql import load_queries

ARCHIVE: Final = "attribution_archive"
QUARANTINE: Final = "attribution_quarantine"
LOGS: Final = "webhook_logs"
JOURNAL: Final = "attribution_journal"
INCIDENTS: Final = "attribution_incidents"
OUTBOX: Final = "attribution_outbox"
WEBHOOKS: Final = "attribution_webhooks"
PEOPLE: Final = "attribution_campaign_people"

#: Ids of a table that are looked through in one statement.
STRETCH: Final = 20_000
#: Columns of free text, in which anybody may be named, and what a tracked link says of the reader.
TEXTS: Final = {
    DELIVERIES: ("status_reason", "delivery_status_details"),
    ENGAGEMENTS: ("engagement_context", "user_agent"),
}
LINKED: Final = {DELIVERIES: "CAST(NULL AS integer)", ENGAGEMENTS: "e.link_subscriber_id"}
_BODIES: Final = {
    ARCHIVE: {"body": "content", "kind": "kind", "less": "- 'content'"},
    QUARANTINE: {"body": "body", "kind": "kind", "less": "- 'body'"},
    LOGS: {"body": "request_body", "kind": "'event'", "less": "- 'request_body'"},
}


@dataclass
class Person:
    """All that is known of a person. It grows as rows are found that only he can be behind.

    ``recipients`` are what the column of that name holds for him; ``internet`` and ``azure`` the ids of messages that
    went to nobody else; ``shared`` those that went to others, too; ``addresses`` and ``uuids`` are in lower case.
    """

    subscribers: set[int] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    uuids: set[str] = field(default_factory=set)
    recipients: set[str] = field(default_factory=set)
    internet: set[str] = field(default_factory=set)
    azure: set[UUID] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        """Return how much is known."""
        known: tuple[set[Any], ...] = (self.subscribers, self.addresses, self.uuids, self.recipients, self.internet)
        return sum(map(len, known)) + len(self.azure)

    @property
    def named(self) -> set[str]:
        """What a mailer's header, or jsonb, may name the subscriber by."""
        return {*map(str, self.subscribers), *self.uuids}

    def parameters(self, needles: Sequence[str]) -> dict[str, Any]:
        """Return what the queries ask for."""
        return {
            "subscribers": sorted(self.subscribers),
            "recipients": sorted(self.recipients),
            "named": sorted(self.named),
            "internet": sorted(self.internet),
            "azure": sorted(self.azure),
            "azure_texts": sorted(map(str, self.azure)),
            "uuids": sorted({*self.uuids, *map(str, self.azure)}),
            "needles": list(needles),
        }


def _queries(table: str) -> Mapping[str, Any]:
    names = _BODIES.get(table, {"body": "NULL", "kind": "NULL", "less": ""})
    texts = ", ".join(f"e.{column}" for column in TEXTS.get(table, ()))
    return load_queries("people.sql", table=table, texts=texts, linked=LINKED.get(table, "NULL"), **names)


_TABLES: Final = (
    *(TRACKING, DELIVERIES, ENGAGEMENTS, VIEWS, CLICKS, BOUNCES),
    *(ARCHIVE, QUARANTINE, LOGS, JOURNAL, INCIDENTS, OUTBOX),
)
_QUERIES: Final = {table: _queries(table) for table in _TABLES}
_ANY: Final = _QUERIES[TRACKING]


def find_subscribers(conn: Connection, person: Person) -> Sequence[Row[Any]]:
    """Return id, uuid and email of whoever is this person to listmonk. In its database only."""
    parameters = {"subscribers": sorted(person.subscribers), "addresses": sorted(person.addresses)}
    return conn.execute(_ANY["find_subscribers"], parameters).all()


def stretches(conn: Connection, table: str, size: int = STRETCH) -> Iterator[dict[str, int]]:
    """Yield all ids that a table has now in stretches, as parameters of the queries below."""
    span = conn.execute(_QUERIES[table]["span"]).one()
    for after in range(span.first - 1, span.last, size):
        yield {"after": after, "upto": min(after + size, span.last)}


def find(conn: Connection, table: str, stretch: Mapping[str, int], known: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Return the rows of a stretch of the tracking table, an event table or the journal that are his or name him."""
    query = {TRACKING: "find_messages", JOURNAL: "find_journalled"}.get(table, "find_events")
    return conn.execute(_QUERIES[table][query], {**known, **stretch}).all()


def find_company(
    conn: Connection, table: str, stretch: Mapping[str, int], possible: Mapping[str, Any]
) -> Sequence[Row[Any]]:
    """Return recipient, subscriber_id and both ids of events of what may be the person's."""
    return conn.execute(_QUERIES[table]["find_company"], {**possible, **stretch}).all()


def find_dependents(conn: Connection, known: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return, by table, the ids of what hangs on events: incidents, and what the webhook has not been told.

    ``known`` has the rows of the event tables besides, as ``engagements`` and ``deliveries``. Of the readers that are
    counted they are whole keys.
    """
    return {
        INCIDENTS: list(conn.execute(_ANY["find_incidents"], known).scalars()),
        OUTBOX: list(conn.execute(_ANY["find_unsent"], known).scalars()),
        WEBHOOKS: list(conn.execute(_ANY["find_webhooks"], known).scalars()),
        PEOPLE: [tuple(row) for row in conn.execute(_ANY["find_people"], known)],
    }


def find_listmonks(conn: Connection, listmonk: Listmonk, person: Person) -> dict[str, list[int]]:
    """Return the ids of listmonk's views, clicks and bounces of this subscriber."""
    here = {VIEWS: listmonk.views, CLICKS: listmonk.clicks, BOUNCES: listmonk.bounces}
    known = {"subscribers": sorted(person.subscribers)}
    return {
        table: list(conn.execute(_QUERIES[table]["find_rows_of_subscriber"], known).scalars())
        for table, is_here in here.items()
        if is_here
    }


def list_bodies(conn: Connection, table: str, stretch: Mapping[str, int]) -> Sequence[Row[Any]]:
    """Return id, kind and body_bytes of a stretch of a table that holds bodies."""
    return conn.execute(_QUERIES[table]["list_bodies"], dict(stretch)).all()


def read_bodies(conn: Connection, table: str, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return id, kind and body of rows."""
    return conn.execute(_QUERIES[table]["read_bodies"], {"ids": list(ids)}).all()


def read_rows(conn: Connection, table: str, ids: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows by their ids, each as JSON would have it; without its body, if it has one."""
    if table == WEBHOOKS:
        return [row.columns for row in conn.execute(_ANY["read_webhooks"], {"ids": list(ids)})]
    return [row.columns for row in conn.execute(_QUERIES[table]["read_rows"], {"ids": list(ids)})]
