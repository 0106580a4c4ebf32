"""Send-trackings into PostgreSQL, from whichever door, and the rows that other programs wrote there by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row

from db.copying import copy_rows
from db.giving_way import give_way
from db.models import NOTHING, MessageIds, TrackedMessage
from db.sql import load_queries
from db.teaching import find_learned

_QUERIES = load_queries("tracking.sql")
_INCOMING = load_queries("incoming.sql")

_COLUMNS = {
    "position": "int4",
    "internet_message_id": "text",
    "azure_message_id": "bytea",
    "campaign_id": "int4",
    "subscriber_id": "int4",
    "smtp_server_uuid": "bytea",
    "sent_at": "timestamptz",
    "tracked_via": "text",
    "recipient_domain": "text",
}


@dataclass(frozen=True, slots=True)
class Tracked:
    """What became of the messages handed to `track_messages`.

    ``known`` were tracked before and agree; of those, ``completed`` gained the id they lacked. ``refused`` are
    positions in the batch: messages whose id is already tracked for somebody else. They changed nothing. ``learned``
    are the ids that delivery reports have taught those tracked before.
    """

    new: int
    known: int
    completed: int
    refused: tuple[int, ...]
    learned: MessageIds = field(default=NOTHING, compare=False)


def track_messages(conn: Connection, messages: Sequence[TrackedMessage]) -> Tracked:
    """Write the messages that are not tracked yet. Doing it again changes nothing.

    Call it in a transaction of the caller's, and after that has committed, `db.parking.release` the ids of the batch,
    all of them, and what they have ``learned``: a drain may have parked events of a message while its row was still
    invisible, and whoever tracked it first may have been killed before it had released everything.
    """
    if len(messages) > 1 and any(message.azure_message_id for message in messages):
        # The rows' order by one of their ids is none by the other.
        give_way(conn)
    conn.execute(_INCOMING["create_incoming_messages"])
    rows = sorted(
        ((position, *message) for position, message in enumerate(messages)),
        key=lambda row: (row[1] or "", row[2] or b""),
    )
    copy_rows(conn, "incoming_messages", list(_COLUMNS), list(_COLUMNS.values()), rows)
    new = conn.execute(_QUERIES["track_messages"]).scalar_one()
    if new == len(messages):
        return Tracked(new, 0, 0, ())
    completed = conn.execute(_QUERIES["complete_messages"]).rowcount
    refused = tuple(conn.execute(_QUERIES["find_refused"]).scalars())
    learned = find_learned(conn, message_ids(messages))
    return Tracked(new, len(messages) - new - len(refused), completed, refused, learned)


def message_ids(messages: Sequence[TrackedMessage]) -> MessageIds:
    """Return every id in ``messages``."""
    return MessageIds(
        frozenset(message.internet_message_id for message in messages if message.internet_message_id),
        frozenset(UUID(bytes=message.azure_message_id) for message in messages if message.azure_message_id),
    )


class Foreign(NamedTuple):
    """Foreign rows, by their row ids, and the ids of their messages."""

    rows: Sequence[int]
    ids: MessageIds


def respell_foreign(conn: Connection, normalise: Callable[[str], str | None], *, limit: int) -> int:
    """Bring Message-IDs that other programs wrote into our spelling; return how many rows there were to look at.

    ``normalise`` returns None for text that is no Message-ID. A transaction of its own: only when it has committed may
    what waits for the rows be released, for every drain must see the spelling that it is released by.
    """
    rows = conn.execute(_QUERIES["lock_foreign"], {"limit": limit}).all()
    spellings = {row.id: normalise(row.internet_message_id) for row in rows if row.internet_message_id is not None}
    # Of rows that come out alike, one that was right already keeps the id, else the earliest.
    had = {row.internet_message_id for row in rows if spellings.get(row.id) == row.internet_message_id}
    respelt: list[tuple[str | None, int]] = []
    for row in rows:
        spelling = spellings.get(row.id)
        if spelling == row.internet_message_id:
            continue
        respelt.append((None if spelling in had else spelling, row.id))
        had.add(spelling)
    if respelt:
        respelt.sort(key=lambda each: (each[0] or "", each[1]))
        parameters = {"ids": [row for _, row in respelt], "respelt": [spelling for spelling, _ in respelt]}
        conn.execute(_QUERIES["respell_foreign"], parameters)
    return len(rows)


def find_foreign(conn: Connection, *, limit: int) -> Foreign:
    """Return foreign rows, which stay foreign until `adopt_foreign`.

    In between, release what waits for them. Nothing is missed: a drain whose events that release does not see yet sees
    these rows, which have been committed, in its own re-check.
    """
    rows = conn.execute(_QUERIES["find_foreign"], {"limit": limit}).all()
    return Foreign([row.id for row in rows], _ids(rows))


def adopt_foreign(conn: Connection, rows: Sequence[int]) -> None:
    """Take foreign rows for ours, once what waited for them is released.

    Not before: a sweep that is killed half-way is to find them again. And in a transaction of its own: a release that
    meets another locks events before tracking rows.
    """
    if rows:
        conn.execute(_QUERIES["adopt_foreign"], {"ids": list(rows)})


def _ids(rows: Sequence[Row[Any]]) -> MessageIds:
    return MessageIds(
        frozenset(row.internet_message_id for row in rows if row.internet_message_id),
        frozenset(row.azure_message_id for row in rows if row.azure_message_id),
    )
