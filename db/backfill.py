"""Backfills: what the replaced system's log of requests teaches about the messages it tracked. All of it journalled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row

from db.adoption import adopt_replaced
from db.journal import BOUNCES, CLICKS, DELIVERIES, ENGAGEMENTS, TRACKING, VIEWS, Journal
from db.models import DeliveryEvent, EngagementEvent, MessageIds
from db.parking import EVENT_TABLES, Released, release
from db.results import Results
from db.sql import load_queries

_QUERIES = {table: load_queries("backfill.sql", events=table) for table in EVENT_TABLES}
_ANY = _QUERIES[DELIVERIES]

#: The journal's reasons for an id that was filled in: what proved it.
PROOFS: Final = {"azure_id": "id_filled_by_azure_id", "mailers_rule": "id_filled_by_mailers_rule"}


class Conflict(NamedTuple):
    """A Message-ID that was not given to a tracking row: another was held or claimed, by it or by another row."""

    row_id: int
    proposed: str
    #: What stands against it: the row's own id, or the other row.
    held: str | None
    holder: int | None


@dataclass(slots=True)
class Learnt:
    """What a batch of the log has taught: how many ids it filled in, how many were ``known``, and what to release."""

    filled: int = 0
    known: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    messages: MessageIds = field(default_factory=MessageIds)


def set_aside_ids(conn: Connection) -> dict[str, int]:
    """Return the Message-IDs that belong to nobody because several rows claim them, each with one of those rows."""
    return {row.set_aside_message_id: row.id for row in conn.execute(_ANY["list_set_aside"])}


def learn(
    conn: Connection,
    journal: Journal,
    deliveries: Sequence[DeliveryEvent],
    engagements: Sequence[EngagementEvent],
    set_aside: Mapping[str, int],
) -> Learnt:
    """Learn from events of the log: which message each tracking row is of, and which event each stored row is.

    A transaction of the caller's; when it has committed, `release_journalled` the ``messages``. A second call learns
    nothing new, and returns the same messages.
    """
    learnt = Learnt()
    events: list[DeliveryEvent | EngagementEvent] = [*deliveries, *engagements]
    seen = {(each.internet_message_id, each.azure_message_id) for each in events if each.internet_message_id}
    ids = {
        "internet_message_ids": [internet for internet, _ in seen],
        "azure_message_ids": [UUID(bytes=azure) if azure else None for _, azure in seen],
    }
    _fill(conn, journal, conn.execute(_ANY["find_proposals"], ids).all(), set_aside, learnt)
    azure_ids = [UUID(bytes=each.azure_message_id) for each in events if each.azure_message_id]
    nameless: dict[str, list[int]] = {}
    for table in EVENT_TABLES:
        rows = conn.execute(_QUERIES[table]["find_nameless"], {"azure_message_ids": azure_ids})
        nameless[table] = list(rows.scalars())
        journal.watch(conn, table, nameless[table])
    adopt_replaced(conn, deliveries, engagements)
    for table in EVENT_TABLES:
        conn.execute(_QUERIES[table]["name_messages"], {**ids, "ids": nameless[table]})
    for table in EVENT_TABLES:
        journal.write(conn, table, "event_named")
    return learnt


def _fill(
    conn: Connection, journal: Journal, proposals: Iterable[Row[Any]], set_aside: Mapping[str, int], learnt: Learnt
) -> None:
    by_row: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    claims: defaultdict[str, set[int]] = defaultdict(set)
    for proposal in proposals:
        by_row[proposal.id].append(proposal)
        claims[proposal.proposed].add(proposal.id)
    fills: list[Row[Any]] = []
    for row_id, offered in by_row.items():
        held = offered[0].held
        for proposal in offered:
            rivals = [other.proposed for other in offered if other is not proposal]
            others = claims[proposal.proposed] - {row_id}
            holder = proposal.holder or set_aside.get(proposal.proposed) or min(others, default=None)
            if proposal.proposed == held:
                learnt.known += 1
            elif held is not None or rivals or holder is not None:
                against = held or (rivals[0] if rivals else None)
                learnt.conflicts.append(Conflict(row_id, proposal.proposed, against, holder))
            else:
                fills.append(proposal)
    for proof, reason in PROOFS.items():
        proven = [proposal for proposal in fills if proposal.proof == proof]
        journal.watch(conn, TRACKING, [proposal.id for proposal in proven])
        parameters = {
            "ids": [proposal.id for proposal in proven],
            "internet_message_ids": [proposal.proposed for proposal in proven],
        }
        conn.execute(_ANY["fill_ids"], parameters)
        learnt.filled += journal.write(conn, TRACKING, reason)
    known = [
        proposal.proposed for offered in by_row.values() for proposal in offered if proposal.proposed == proposal.held
    ]
    learnt.messages = MessageIds(internet=frozenset([*known, *(proposal.proposed for proposal in fills)]))


def release_journalled(conn: Connection, journal: Journal, ids: MessageIds, results: Results) -> Released:
    """Release the events that wait for messages, as `db.parking.release` does, and journal everything it writes."""
    if not ids:
        return Released()
    internet = {"internet_message_ids": sorted(ids.internet)}
    waiting = {table: conn.execute(_QUERIES[table]["find_waiting"], internet).all() for table in EVENT_TABLES}
    if not any(waiting.values()):
        return Released()
    reports = waiting[DELIVERIES]
    pairs = {
        "internet_message_ids": [row.internet_message_id for row in reports],
        "azure_message_ids": [row.azure_message_id for row in reports if row.azure_message_id],
    }
    journal.watch(conn, TRACKING, list(conn.execute(_ANY["find_teachable"], pairs).scalars()))
    for table in EVENT_TABLES:
        journal.watch(conn, table, [row.id for row in waiting[table]])
    released = release(conn, ids, results)
    for table in (TRACKING, *EVENT_TABLES):
        journal.write(conn, table, "released")
    listmonk = results.listmonk(conn)
    engagements = [-row.id for row in waiting[ENGAGEMENTS]]
    if listmonk.views:
        journal.write_inserted(conn, VIEWS, engagements, "released")
    if listmonk.clicks:
        journal.write_inserted(conn, CLICKS, engagements, "released")
    if listmonk.bounces:
        bounces = conn.execute(_ANY["find_bounces"], {"ids": [row.id for row in reports]}).scalars()
        journal.write_inserted(conn, BOUNCES, list(bounces), "released")
    return released


def absorb_journalled(conn: Connection, journal: Journal, engagements: Sequence[int], results: Results) -> None:
    """Let native rows that came meanwhile count released events, as `Results.absorb_native` does, and journal that."""
    listmonk = results.listmonk(conn)
    tables = [table for table, there in ((VIEWS, listmonk.views), (CLICKS, listmonk.clicks)) if there]
    journal.watch(conn, ENGAGEMENTS, engagements)
    for table in tables:
        journal.watch(conn, table, [-event for event in engagements])
    results.absorb_native(conn, engagements)
    for table in (ENGAGEMENTS, *tables):
        journal.write(conn, table, "released")
