"""Runs: each replay, import, backfill and repair, and how far it has read each of its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from db.sql import load_queries

_QUERIES = load_queries("runs.sql")


class Position(NamedTuple):
    """How far a source has been read; what the number counts (bytes, rows, an id) is the reader's to say."""

    position: int = 0
    finished: bool = False


def start_run(conn: Connection, kind: str, parameters: Mapping[str, Any]) -> int:
    """Write down that a run of ``kind`` begins, and return its number.

    Commit it before the run's first batch, or with it: what a run writes carries the number.
    """
    return int(conn.execute(_QUERIES["start_run"], {"kind": kind, "parameters": json.dumps(parameters)}).scalar_one())


def finish_run(conn: Connection, run_id: int, summary: Mapping[str, Any]) -> None:
    """Write down that a run has come to its end, with what it did. A run that was interrupted stays `running`."""
    conn.execute(_QUERIES["finish_run"], {"run_id": run_id, "summary": json.dumps(summary)})


def position_of(conn: Connection, source: str) -> Position:
    """Return how far ``source`` has been read; nothing is known of it if that is `Position()`."""
    row = conn.execute(_QUERIES["position_of"], {"source": source}).one_or_none()
    return Position() if row is None else Position(row.position, row.finished)


def finished_among(conn: Connection, sources: Sequence[str]) -> set[str]:
    """Return those of ``sources`` that have been read to their end."""
    return set(conn.execute(_QUERIES["finished_among"], {"sources": list(sources)}).scalars())


def advance(conn: Connection, source: str, position: int, run_id: int, finished: bool = False) -> None:
    """Write down that run ``run_id`` has read ``source`` up to ``position``.

    Call it in the transaction that records what was read, or after its commit: a batch read twice does no harm, one
    that is skipped does. Several sources in one transaction: in their order.
    """
    parameters = {"source": source, "position": position, "run_id": run_id, "finished": finished}
    conn.execute(_QUERIES["advance"], parameters)
