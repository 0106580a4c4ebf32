"""The replaced system's table `webhook_logs`: the requests it was sent, by Event Grid and by others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from db.sql import load_queries

_QUERIES = load_queries("webhook_logs.sql")


def has_logs(conn: Connection) -> bool:
    """Tell whether this database has the table."""
    return bool(conn.execute(_QUERIES["has_logs"]).scalar_one())


def newest_log(conn: Connection) -> int:
    """Return the id of the newest row, 0 if there is none."""
    return int(conn.execute(_QUERIES["newest_log"]).scalar_one())


def list_logs(conn: Connection, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """Return id and body_bytes of up to ``limit`` rows behind the row ``after``, in the order of their ids."""
    return conn.execute(_QUERIES["list_logs"], {"after": after, "limit": limit}).all()


def read_logs(conn: Connection, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return id, request_body and created_at of rows; the latter two may be None."""
    return conn.execute(_QUERIES["read_logs"], {"ids": list(ids)}).all()
