"""Key 3: delivery reports carry both ids of their message, and teach its tracking row the one it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from db.models import NOTHING, MessageIds
from db.sql import load_queries

_QUERIES = load_queries("teaching.sql")


def teach(conn: Connection, pairs: Sequence[tuple[str, UUID]]) -> MessageIds:
    """Learn from delivery reports, each given as its pair of ids; return the ids that were taught.

    Release what waits for those ids in a new transaction, after this one has committed: it is the race of parking and
    tracking once more. A report that came before its message was tracked found no row to teach, and teaches when it is
    released.
    """
    if not pairs:
        return NOTHING
    parameters = {
        "internet_message_ids": "\n".join(internet for internet, _ in pairs),
        "azure_message_ids": "\n".join(str(azure) for _, azure in pairs),
    }
    return MessageIds(
        frozenset(conn.execute(_QUERIES["teach_internet_message_ids"], parameters).scalars()),
        frozenset(conn.execute(_QUERIES["teach_azure_message_ids"], parameters).scalars()),
    )
