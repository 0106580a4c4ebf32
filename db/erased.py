"""What was erased: remembered for a while by hashes, so that what comes again is known and left out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection

from db.sql import load_queries

#: What is remembered: of an `event` its key, of a message its `internet` or `azure` id, of malformed bytes their
#: `content` key; and the value as text.
Key = tuple[str, str]

_QUERIES: Final = load_queries("erased.sql")


def has_erased(conn: Connection) -> bool:
    """Tell whether anything is remembered. Where nobody was erased lately, that is all that a batch pays."""
    return bool(conn.execute(_QUERIES["has_erased"]).scalar_one())


def find_erased(conn: Connection, keys: Collection[Key]) -> set[Key]:
    """Return those of ``keys`` that are remembered.

    Ask in the transaction that is about to record them. An erasure that commits meanwhile looks once more when that
    transaction has ended.
    """
    if not keys:
        return set()
    found = conn.execute(_QUERIES["find_erased"], {"lines": _as_lines(keys)}).scalars()
    return {(kind, value) for kind, _, value in (line.partition(" ") for line in found)}


def remember_erased(conn: Connection, keys: Collection[Key]) -> None:
    """Remember ``keys``. Nothing of them is recorded again once this has committed."""
    if keys:
        conn.execute(_QUERIES["remember_erased"], {"lines": _as_lines(keys)})


def _as_lines(keys: Collection[Key]) -> str:
    return "\n".join([f"{kind} {value}" for kind, value in keys])
