"""Key 3: delivery reports carry both ids of their message, and teach its tracking row the one it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from db.models import NOTHING, MessageIds
from db.sql import load_queries

_QUERIES = load_queries("teaching.sql")


def teach(conn: Connection, pairs: Sequence[tuple[str, UUID]], event_keys: Sequence[bytes] = ()) -> MessageIds:
    """Learn from delivery reports, each given as its pair of ids; return the ids that were taught.

    Reports that may have come before are given by their ``event_keys`` as well, in the same order: one that is stored
    with other ids than now teaches nothing, as a redelivery changes nothing.

    Release what waits for those ids in a new transaction, after this one has committed: it is the race of parking and
    tracking once more. A report that came before its message was tracked found no row to teach, and teaches when it is
    released.
    """
    if not pairs:
        return NOTHING
    parameters = {
        "internet_message_ids": "\n".join(internet for internet, _ in pairs),
        "azure_message_ids": "\n".join(str(azure) for _, azure in pairs),
        "event_keys": "\n".join(key.hex() for key in event_keys),
    }
    return MessageIds(
        frozenset(conn.execute(_QUERIES["teach_internet_message_ids"], parameters).scalars()),
        frozenset(conn.execute(_QUERIES["teach_azure_message_ids"], parameters).scalars()),
    )


def find_learned(conn: Connection, ids: MessageIds) -> MessageIds:
    """Return what delivery reports have taught the tracking rows of ``ids``.

    For a batch that comes again: whoever recorded it first may have been killed when what it released had taught an id
    and before it looked for what waited for that one, and no report teaches twice.
    """
    parameters = {"internet_message_ids": list(ids.internet), "azure_message_ids": list(ids.azure)}
    rows = conn.execute(_QUERIES["find_learned"], parameters).all()
    return MessageIds(
        frozenset(row.internet_message_id for row in rows if row.learned_id == "internet_message_id"),
        frozenset(row.azure_message_id for row in rows if row.learned_id == "azure_message_id"),
    )
