"""Send-trackings into PostgreSQL, from whichever door, and the rows that other programs wrote there by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from db.copying import copy_rows
from db.models import MessageIds, TrackedMessage
from db.sql import load_queries

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
    positions in the batch: messages whose id is already tracked for somebody else. They changed nothing.
    """

    new: int
    known: int
    completed: int
    refused: tuple[int, ...]


def track_messages(conn: Connection, messages: Sequence[TrackedMessage]) -> Tracked:
    """Write the messages that are not tracked yet. Doing it again changes nothing.

    Call it in a transaction of the caller's, and after that has committed, `db.parking.release` the ids of the batch,
    all of them: a drain may have parked events of a message while its row was still invisible.
    """
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
    return Tracked(new, len(messages) - new - len(refused), completed, refused)


def message_ids(messages: Sequence[TrackedMessage]) -> MessageIds:
    """Return every id in ``messages``."""
    return MessageIds(
        frozenset(message.internet_message_id for message in messages if message.internet_message_id),
        frozenset(UUID(bytes=message.azure_message_id) for message in messages if message.azure_message_id),
    )


def respell_foreign(conn: Connection, normalise: Callable[[str], str | None], *, limit: int) -> int:
    """Bring Message-IDs that other programs wrote into our spelling; return how many rows there were to look at.

    ``normalise`` returns None for text that is no Message-ID. A transaction of its own: only when it has committed may
    `adopt_foreign` release what waits for the rows, for the reason told there.
    """
    rows = conn.execute(_QUERIES["find_foreign"], {"limit": limit}).all()
    spellings = {row.id: normalise(row.internet_message_id) for row in rows if row.internet_message_id is not None}
    # Of rows that come out alike, one that was right already keeps the id, else the earliest.
    had = {row.internet_message_id for row in rows if spellings.get(row.id) == row.internet_message_id}
    respelt: dict[int, str | None] = {}
    for row in rows:
        spelling = spellings.get(row.id)
        if spelling == row.internet_message_id:
            continue
        respelt[row.id] = None if spelling in had else spelling
        had.add(spelling)
    if respelt:
        conn.execute(_QUERIES["respell_foreign"], {"ids": list(respelt), "respelt": list(respelt.values())})
    return len(rows)


def adopt_foreign(conn: Connection, *, limit: int) -> MessageIds:
    """Take foreign rows for ours and return their ids, whose events are to be released in this same transaction.

    Releasing in the transaction that marks them is safe here, unlike for rows of our own: these rows were committed
    before our snapshot, so a drain that we do not see yet will see them in its own re-check.
    """
    rows = conn.execute(_QUERIES["find_foreign"], {"limit": limit}).all()
    if rows:
        conn.execute(_QUERIES["adopt_foreign"], {"ids": [row.id for row in rows]})
    return MessageIds(
        frozenset(row.internet_message_id for row in rows if row.internet_message_id),
        frozenset(row.azure_message_id for row in rows if row.azure_message_id),
    )
