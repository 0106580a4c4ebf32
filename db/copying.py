"""Rows into a temporary table by PostgreSQL's binary COPY, inside SQLAlchemy's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from db.engine import describe_error


def copy_rows(
    conn: Connection, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Copy ``rows`` into ``columns`` of ``table``.

    ``types`` says how each value is written. COPY sends no type names, only bytes, so a UUID may go as ``bytea``: both
    are sixteen bytes on the wire, and building sixteen bytes costs a fifth of building a UUID object.

    Raises:
        sqlalchemy.exc.DBAPIError: as any statement would, with nothing of the data in its text.

    The table and column names are written into the statement: they must be constants of the caller.
    """
    driver = conn.connection.driver_connection
    if driver is None:
        raise RuntimeError("This connection was returned to its pool.")
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # The driver's own cursor bypasses SQLAlchemy, whose errors are what everybody catches and judges, and its hook,
        # which takes the data out of their text.
        broken = driver.closed
        if broken:
            conn.invalidate(error)
        error.args = (describe_error(error),)
        wrapped = DBAPIError.instance(
            statement,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=broken,
            dialect=conn.dialect,
        )
        raise wrapped from None
