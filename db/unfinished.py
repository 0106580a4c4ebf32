"""Erasures that ended with something open: their runs say so, until an erasure of the same person has ended whole.

So that it is known to be the same person, such a run keeps hashes of who it is about, with a salt of its own. They are
gone when it has ended whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection

from db.sql import load_queries

#: Why something may be left of somebody. `killed`: its process ended without a word.
Left = Literal["stopped", "failed", "transaction_open", "came_again", "on_the_streams", "killed"]

_QUERIES: Final = load_queries("runs.sql")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An erasure that is to be gone on with: its run, why it ended, and how many rows of each table it had erased."""

    run_id: int
    left: Left
    ended_at: datetime | None
    parameters: Mapping[str, Any]
    removed: Counter[str] = field(default_factory=Counter)


def find_unfinished_erasures(conn: Connection) -> list[Unfinished]:
    """Return the erasures that ended with something open, the oldest first.

    Only while no other erasure is at work: one that says of itself that it is running was killed then.
    """
    return [
        Unfinished(row.id, row.left or "killed", row.finished_at, row.parameters, Counter(row.removed or {}))
        for row in conn.execute(_QUERIES["find_unfinished_erasures"])
    ]


def end_unfinished(conn: Connection, run_id: int, left: Left, removed: Mapping[str, int]) -> None:
    """Write down that an erasure has ended, what it has erased, and why something may be left."""
    summary = json.dumps({**removed, "left": left})
    conn.execute(_QUERIES["end_unfinished"], {"run_id": run_id, "summary": summary})


def end_whole(conn: Connection, run_id: int, removed: Mapping[str, int], others: Sequence[int] = ()) -> None:
    """Write down that nothing is left of whom ``run_id`` was about, and these ``others``, which were about him, too."""
    parameters = {"run_id": run_id, "summary": json.dumps(dict(removed)), "others": list(others)}
    conn.execute(_QUERIES["end_whole"], parameters)
