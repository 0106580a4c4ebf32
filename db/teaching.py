"""Key 3: delivery reports carry both ids of their message, and teach its tracking row the one it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from db.models import MessageIds
from db.sql import load_queries

#: The temporary table that holds the delivery reports of the batch at hand.
INCOMING_DELIVERIES = "incoming_deliveries"

_FROM_BATCH = load_queries("teaching.sql", pairs=INCOMING_DELIVERIES)
_FROM_PAIRS = load_queries(
    "teaching.sql",
    pairs="unnest(CAST(:internet_message_ids AS text[]), CAST(:azure_message_ids AS uuid[]))"
    " AS pair (internet_message_id, azure_message_id)",
)


def teach_from_batch(conn: Connection) -> MessageIds:
    """Learn from the delivery reports that were just copied in; return the ids that were taught.

    Release what waits for those ids in a new transaction, after this one has committed: it is the race of parking and
    tracking once more.
    """
    return MessageIds(
        frozenset(conn.execute(_FROM_BATCH["teach_internet_message_ids"]).scalars()),
        frozenset(conn.execute(_FROM_BATCH["teach_azure_message_ids"]).scalars()),
    )


def teach_from_pairs(conn: Connection, pairs: Sequence[tuple[str, UUID]]) -> MessageIds:
    """Learn from delivery reports that had waited for their message; the same holds as for `teach_from_batch`.

    Such a report came before its message was tracked, when there was no row to teach.
    """
    if not pairs:
        return MessageIds()
    parameters = {
        "internet_message_ids": [internet for internet, _ in pairs],
        "azure_message_ids": [azure for _, azure in pairs],
    }
    return MessageIds(
        frozenset(conn.execute(_FROM_PAIRS["teach_internet_message_ids"], parameters).scalars()),
        frozenset(conn.execute(_FROM_PAIRS["teach_azure_message_ids"], parameters).scalars()),
    )
