"""The raw archive: the bodies of drained batches, recipients hidden, kept for as long as a replay may need them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from db.sql import load_queries

_QUERIES = load_queries("archive.sql")


class Packed(NamedTuple):
    """The bodies of a batch in one value. ``raw_bytes`` is their size before they were compressed."""

    first_received_at: datetime
    last_received_at: datetime
    bodies: int
    raw_bytes: int
    content: bytes


class Window(NamedTuple):
    """From ``since`` until just before ``until``."""

    since: datetime
    until: datetime


class Place(NamedTuple):
    """A row's place in the order in which the archive is read."""

    last_received_at: datetime
    id: int


#: Before every row.
BEGINNING = Place(datetime.min.replace(tzinfo=UTC), 0)


def keep(conn: Connection, kind: str, packed: Packed) -> None:
    """Keep the bodies of one batch of ``kind``, `event` or `message`.

    Call it in the transaction that records the batch: the archive then holds what was recorded, once, even where a
    failed transaction is tried again. A batch that was committed and is delivered again is kept again, which a replay
    does not mind.
    """
    conn.execute(_QUERIES["keep"], {"kind": kind, **packed._asdict()})


def list_archived(conn: Connection, kind: str, window: Window, *, after: Place, limit: int) -> Sequence[Row[Any]]:
    """Return id, last_received_at, bodies and raw_bytes of up to ``limit`` rows behind ``after``.

    They hold bodies of the window; those at its ends may hold others besides.
    """
    parameters = {"kind": kind, **window._asdict(), "after_id": after.id, "limit": limit}
    return conn.execute(_QUERIES["list_archived"], parameters | {"after_received_at": after.last_received_at}).all()


def read_contents(conn: Connection, ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return the contents of rows, those that have not been purged meanwhile, each with its id."""
    return [(row.id, bytes(row.content)) for row in conn.execute(_QUERIES["read_contents"], {"ids": list(ids)})]


def count_archived(conn: Connection, window: Window) -> Row[Any]:
    """Return bodies and raw_bytes of the rows that hold bodies of the window, of both kinds."""
    return conn.execute(_QUERIES["count_archived"], window._asdict()).one()


def find_span(conn: Connection) -> Window | None:
    """Return when the first and the last archived body came, or None if there is none."""
    row = conn.execute(_QUERIES["find_span"]).one()
    return None if row.first_received_at is None else Window(row.first_received_at, row.last_received_at)


def purge(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` rows whose bodies all came before ``older_than``; return how many."""
    return conn.execute(_QUERIES["purge"], {"older_than": older_than, "limit": limit}).rowcount
