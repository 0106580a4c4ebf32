"""More time than a statement usually has, for a transaction that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from db.deadline import MARGIN
from db.sql import load_queries

_QUERIES = load_queries("allowance.sql")


@contextmanager
def allow_time(conn: sa.Connection, longest_statement: timedelta) -> Iterator[None]:
    """Let each statement within run for ``longest_statement``, and wait as long for PostgreSQL's word of it.

    Within a transaction of the caller's, whose COMMIT comes afterwards and has no more time than usual. Without both
    limits a long statement is lost: the connection takes the silence for a dead server, and the server works on.
    """
    milliseconds = longest_statement // timedelta(milliseconds=1)
    conn.execute(_QUERIES["limit_statements"], {"milliseconds": str(milliseconds)})
    driver: Any = conn.connection.driver_connection
    usual, driver.longest_silence = driver.longest_silence, longest_statement + MARGIN
    try:
        yield
    finally:
        driver.longest_silence = usual
