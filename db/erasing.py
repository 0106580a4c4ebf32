"""The rows of one person are removed, and his name is struck out of others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause

from db.archive import Packed
from db.giving_way import give_way
from db.journal import BOUNCES, CLICKS, DELIVERIES, ENGAGEMENTS, TRACKING, VIEWS
from db.people import ARCHIVE, INCIDENTS, JOURNAL, LOGS, OUTBOX, QUARANTINE, TEXTS
from db.sql import load_queries

_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    ENGAGEMENTS: {
        "unlink": ", link_subscriber_id = CASE WHEN e.link_subscriber_id = ANY(CAST(:subscribers AS integer[]))"
        " THEN NULL ELSE e.link_subscriber_id END"
    },
    ARCHIVE: {"body": "content", "kind": "kind"},
    QUARANTINE: {"body": "body", "kind": "kind"},
    LOGS: {"body": "request_body", "kind": "'event'"},
}


def _queries(table: str) -> Mapping[str, TextClause]:
    first, second = TEXTS.get(table, ("", ""))
    names = {"unlink": "", "body": "NULL", "kind": "NULL", **_NAMES.get(table, {})}
    id_type = "integer" if table == BOUNCES else "bigint"
    return load_queries(
        "erasing.sql", table=table, texts=f"{first}, {second}", first=first, second=second, id_type=id_type, **names
    )


_TABLES: Final = (
    *(TRACKING, DELIVERIES, ENGAGEMENTS, VIEWS, CLICKS, BOUNCES),
    *(ARCHIVE, QUARANTINE, LOGS, JOURNAL, INCIDENTS, OUTBOX),
)
_QUERIES: Final = {table: _queries(table) for table in _TABLES}
_ANY: Final = _QUERIES[TRACKING]


def remove(conn: Connection, table: str, ids: Sequence[int]) -> int:
    """Remove rows by their ids; return how many were there. Gives way: try it again."""
    give_way(conn)
    return conn.execute(_QUERIES[table]["remove"], {"ids": list(ids)}).rowcount


def make_nameless(conn: Connection, table: str, ids: Sequence[int]) -> int:
    """Take the subscriber off listmonk's views or clicks, which stay counted; return how many there were."""
    give_way(conn)
    return conn.execute(_QUERIES[table]["make_nameless"], {"ids": list(ids)}).rowcount


def remove_people(conn: Connection, keys: Sequence[tuple[int, str, UUID]]) -> int:
    """Remove readers, by campaign, fact and hash, from those that are counted; return how many there were.

    After the rows that they were counted by: the counts are made anew without those.
    """
    parameters = {
        "campaigns": [campaign for campaign, _, _ in keys],
        "facts": [fact for _, fact, _ in keys],
        "people": [person for _, _, person in keys],
    }
    return conn.execute(_ANY["remove_people"], parameters).rowcount


def strike_texts(
    conn: Connection, table: str, ids: Sequence[int], strike: Callable[[str], str], subscribers: Sequence[int]
) -> int:
    """Rewrite the free texts of events by ``strike``, and unlink these ``subscribers``; return how many events."""
    give_way(conn)
    rows = conn.execute(_QUERIES[table]["lock_texts"], {"ids": list(ids)}).all()
    parameters: dict[str, Any] = {
        "ids": [row.id for row in rows],
        "firsts": [None if row[1] is None else strike(row[1]) for row in rows],
        "seconds": [None if row[2] is None else strike(row[2]) for row in rows],
    }
    if table == ENGAGEMENTS:
        parameters["subscribers"] = list(subscribers)
    return conn.execute(_QUERIES[table]["strike_texts"], parameters).rowcount


def shorten_webhooks(
    conn: Connection, ids: Sequence[UUID], *, engagements: Sequence[int], deliveries: Sequence[int]
) -> int:
    """Take these rows of the event tables out of batches for the webhook; return out of how many."""
    parameters = {"ids": list(ids), "engagements": list(engagements), "deliveries": list(deliveries)}
    shortened = conn.execute(_ANY["shorten_webhooks"], parameters).rowcount
    conn.execute(_ANY["remove_empty_webhooks"], {"ids": list(ids)})
    return shortened


def lock_body(conn: Connection, table: str, row_id: int) -> Row[Any] | None:
    """Return kind and body of a row that is about to be rewritten; None if it has been purged."""
    return conn.execute(_QUERIES[table]["lock_body"], {"id": row_id}).one_or_none()


def keep_archived(conn: Connection, row_id: int, packed: Packed) -> None:
    """Write what is left of a batch in the archive."""
    conn.execute(_ANY["keep_archived"], {"id": row_id, **packed._asdict()})


def keep_quarantined(conn: Connection, row_id: int, body: bytes, content_key: bytes) -> None:
    """Write what is left of a quarantined body."""
    parameters = {"id": row_id, "body": body, "content_key": UUID(bytes=content_key)}
    if not conn.execute(_ANY["keep_quarantined"], parameters).rowcount:
        remove(conn, QUARANTINE, [row_id])


def keep_logged(conn: Connection, row_id: int, body: bytes) -> None:
    """Write what is left of a body in the replaced system's log."""
    conn.execute(_ANY["keep_logged"], {"id": row_id, "body": body.decode(errors="replace")})


def newest_transaction(conn: Connection) -> int:
    """Return a number that is higher than that of every transaction which has begun to write."""
    return int(conn.execute(_ANY["newest_transaction"]).scalar_one())


def oldest_transaction(conn: Connection) -> int:
    """Return the lowest number of a transaction that is still open."""
    return int(conn.execute(_ANY["oldest_transaction"]).scalar_one())


def asking(conn: Connection) -> set[str]:
    """Return the transactions that have asked what was erased, and are about to record what was not."""
    return set(conn.execute(_ANY["asking"]).scalars())
