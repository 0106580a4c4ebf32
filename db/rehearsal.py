"""Rehearsals: the same transactions as in earnest, of which nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db.giving_way import give_way
from db.sql import load_queries

_QUERIES = load_queries("rehearsal.sql")


@contextmanager
def rehearse(engine: Engine) -> Iterator[Engine]:
    """Yield an engine whose transactions all lie in one, which is rolled back at the end.

    What commits in it is seen by what follows and by nobody else, so a rehearsal's counts are those that the run would
    have: a second delivery of one event is known, and an event whose message was tracked two batches ago is
    attributed. Rolling back each batch by itself would lose that.

    Rows that the run would change stay locked until the rehearsal ends, and whoever needs one waits. Those are few:
    they are what is missing. What was there already is not locked. A rehearsal holds the rows of many batches, which no
    order could keep from a deadlock, so it gives way itself.
    """
    with engine.connect() as conn, conn.begin() as everything:
        conn.execute(_QUERIES["allow_idleness"])
        give_way(conn)
        try:
            yield cast(Engine, _OneTransaction(conn))
        finally:
            everything.rollback()


class _OneTransaction:
    """As much of an engine as transactions need. Each is a savepoint of one."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._lost: DBAPIError | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        if self._lost:  # with the connection went what was rehearsed so far: trying again cannot help
            raise self._lost
        try:
            with self._conn.begin_nested():
                yield self._conn
            self._conn.execute(_QUERIES["drop_temporary"])
        except DBAPIError as error:
            if error.connection_invalidated:
                self._lost = error
            raise
