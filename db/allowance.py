"""More time than a statement usually has, for whoever needs it; or less, for whoever asks only for a sign of life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from db.deadline import MARGIN
from db.sql import load_queries

_QUERIES = load_queries("allowance.sql")


def ask(engine: sa.Engine, longest_answer: timedelta) -> None:
    """Have PostgreSQL say that it takes writes, on a connection that is there or on a new one. Nothing is written.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it takes none; or it did not answer within ``longest_answer``, or a connection
            was not to be had.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn, _silence(conn) as driver:
        driver.longest_silence = longest_answer
        conn.execute(_QUERIES["require_use"])


@contextmanager
def allow_time(conn: sa.Connection, longest_statement: timedelta) -> Iterator[None]:
    """Let each statement within run for ``longest_statement``, and wait as long for PostgreSQL's word of it.

    Within a transaction of the caller's, whose COMMIT comes afterwards and has no more time than usual. Without both
    limits a long statement is lost: the connection takes the silence for a dead server, and the server works on.
    """
    milliseconds = longest_statement // timedelta(milliseconds=1)
    with _silence(conn) as driver:
        usual, allowed = driver.longest_silence, longest_statement + MARGIN
        driver.longest_silence = allowed if usual is None else min(usual, allowed)  # setting a limit takes no time
        conn.execute(_QUERIES["limit_statements"], {"milliseconds": str(milliseconds)})
        driver.longest_silence = allowed
        yield


@contextmanager
def _silence(conn: sa.Connection) -> Iterator[Any]:
    """Yield the driver's connection, whose ``longest_silence`` is afterwards what it was."""
    driver: Any = conn.connection.driver_connection
    usual = driver.longest_silence
    try:
        yield driver
    finally:
        driver.longest_silence = usual
