"""The waits of parked events, past and present, as far as a forecast needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row

from db.parking import EVENT_TABLES
from db.sql import load_queries
from db.survival import EDGES, Curve, Forecast, Lately, compare_lately, forecast

#: How far back events are looked at: four times the usual deadline, so that what never was matched is seen to its end.
WINDOW: Final = timedelta(days=28)
#: What is parked within this before now is compared with what was parked earlier.
LATELY: Final = timedelta(hours=1)
#: Most past events of each kind that are looked at, the newest: a second's work.
MOST_WAITS: Final = 500_000

_QUERIES: Final = {table: load_queries("forecast.sql", events=table) for table in EVENT_TABLES}


@dataclass(slots=True)
class Waits:
    """Events of one kind by the span of their age: ``matched`` and ``left`` as in `db.survival.Curve`.

    ``matched_lately`` and ``left_lately`` are those parked within the last hour, which are not among the others.
    ``parked`` are those that wait now. ``others`` wait as well, and were brought by a run or by another program: the
    past says nothing of them.
    """

    matched: Counter[int] = field(default_factory=Counter)
    left: Counter[int] = field(default_factory=Counter)
    matched_lately: Counter[int] = field(default_factory=Counter)
    left_lately: Counter[int] = field(default_factory=Counter)
    parked: Counter[int] = field(default_factory=Counter)
    others: int = 0

    def curve(self) -> Curve:
        """Return the curve of all of the past."""
        return Curve(self.matched + self.matched_lately, self.left + self.left_lately)

    def forecast(self, deadline: timedelta) -> Forecast:
        """Return what is to be expected of the events that wait now."""
        return forecast(self.curve(), self.parked, deadline.total_seconds())

    def lately(self) -> Lately:
        """Compare the last hour with what was before it."""
        return compare_lately(Curve(self.matched, self.left), self.matched_lately, self.left_lately)


def read_waits(
    conn: Connection, table: str, *, window: timedelta = WINDOW, lately: timedelta = LATELY, limit: int = MOST_WAITS
) -> Waits:
    """Return how long events of ``table`` waited that were parked within ``window``, the newest ``limit``; and wait."""
    waits = Waits()
    parameters = {"edges": list(EDGES), "window": window, "lately": lately, "limit": limit}
    for row in conn.execute(_QUERIES[table]["count_waits"], parameters):
        if row.lately:
            counts = waits.matched_lately if row.matched else waits.left_lately
        else:
            counts = waits.matched if row.matched else waits.left
        counts[row.span] += row.events
    for row in conn.execute(_QUERIES[table]["count_parked"], {"edges": list(EDGES)}):
        if row.ours:
            waits.parked[row.span] += row.events
        else:
            waits.others += row.events
    return waits


def list_older(conn: Connection, table: str, *, age: timedelta, limit: int) -> Sequence[Row[Any]]:
    """Return up to ``limit`` parked events of ours that have waited for ``age`` or longer, oldest first."""
    return conn.execute(_QUERIES[table]["list_older"], {"age": age, "limit": limit}).all()
