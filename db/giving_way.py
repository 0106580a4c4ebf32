"""Giving way: what cannot lock its rows in the order of all others, and can be tried again, does not wait for long."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from db.sql import load_queries

#: Longest wait for a lock, in milliseconds. Well below PostgreSQL's `deadlock_timeout` (a second, unless somebody has
#: changed it), so that of two transactions that wait for each other this one ends, and not the drain.
LONGEST_WAIT: Final = 200

_QUERIES = load_queries("giving_way.sql")


def give_way(conn: Connection) -> None:
    """Have the transaction of ``conn`` fail rather than wait for a lock for longer than `LONGEST_WAIT`.

    Call it where the transaction begins. The failure is of a kind that passes: the transaction is to be tried again.
    """
    conn.execute(_QUERIES["give_way"], {"longest_wait": str(LONGEST_WAIT)})
