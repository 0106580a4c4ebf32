"""Acts that listmonk's own pixel or redirect has counted as well: each is counted once, whichever came first.

Both sides write and commit, and each then looks for the other: we, before our commit for the native rows that are there
(`absorb`) and once more after it for those that came meanwhile; and a periodic task for the native rows that come later
(`watch`), which sees every one of them at least once after its commit. So whoever commits last is seen together with
the other. Whose rows belong together is decided under one lock, from what is committed by then.

Where the reader's row and ours are one act, listmonk's stays, and our event says which row counts it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range
from sqlalchemy import Connection, Row

from db.listmonk.matching import Act, match
from db.sql import load_queries

#: Rows looked at in the first glance at listmonk's newest ones; each further glance takes four times as many.
_FIRST_GLANCE: Final = 500
#: How much earlier than its neighbours a row may have happened and still have been written after them.
_SLACK: Final = timedelta(minutes=1)
#: How often the search goes on to acts near acts that are near ours. Chains of acts so close to each other are rare.
_ROUNDS: Final = 5


class Tally:
    """One of listmonk's two tables of acts: ``campaign_views`` or ``link_clicks``."""

    def __init__(self, engagement_type: str, results: str, link_id: str) -> None:
        self.engagement_type = engagement_type
        self._sql = load_queries("native.sql", engagement_type=engagement_type, results=results, link_id=link_id)

    def absorb(self, conn: Connection, events: Sequence[int], window: timedelta) -> int:
        """Let native rows count those of our ``events``, given by their row ids, that they are one act with.

        Our rows of those go. Returns how many there were.
        """
        if not events or not window:
            return 0
        # Most often there is nothing native at all, or nothing so recent: that is to cost next to nothing.
        newest = conn.execute(self._sql["glance"], {"below": sys.maxsize, "limit": 1}).one()
        if not newest.rows:
            return 0
        ids = [-event for event in events]
        since = conn.execute(self._sql["oldest_of_ours"], {"ids": ids}).scalar_one()
        if since is None or self._floor(conn, since - window) is None:
            return 0
        ours = self._acts(conn, "find_ours", ids=ids)
        if not self._native_near(conn, ours, window):
            return 0
        conn.execute(self._sql["one_at_a_time"])
        return self._settle(conn, ours, window)

    def watch(self, conn: Connection, window: timedelta) -> int:
        """Look at the native rows that have come since the last time, and let them count what they are one act with.

        A transaction of its own. Does nothing while another one does it.
        """
        seen = conn.execute(self._sql["lock_mark"]).scalar()
        if seen is None:
            return 0
        newest = conn.execute(self._sql["newest_id"]).scalar_one()
        native = self._acts(conn, "find_native_since", seen_id=seen)
        absorbed = 0
        if native and window and self._ours_near(conn, native, window):
            conn.execute(self._sql["one_at_a_time"])
            absorbed = self._settle(conn, self._ours_near(conn, native, window), window)
        conn.execute(self._sql["move_mark"], {"newest_id": newest})
        return absorbed

    def begin_watching(self, conn: Connection) -> None:
        """Remember where native rows are to be watched from. Call it before the first row of ours is written."""
        conn.execute(self._sql["add_mark"])

    def _settle(self, conn: Connection, ours: Sequence[Act], window: timedelta) -> int:
        """Match ``ours`` with native rows, and with the events that those rows count already, as far as they reach."""
        events = {act.id: act for act in self._acts(conn, "find_ours", ids=[-act.id for act in ours])}
        new = set(events)
        native: dict[int, Act] = {}
        held: dict[int, int] = {}
        frontier = list(events.values())
        for _ in range(_ROUNDS):
            rows = self._native_near(conn, frontier, window)
            native |= {row.id: _act(row) for row in rows}
            frontier = [
                Act(row.held_by, row.campaign_id, row.subscriber_id, row.link_id, row.held_at)
                for row in rows
                if row.held_by is not None and row.held_by not in events
            ]
            held |= {row.held_by: row.id for row in rows if row.held_by is not None}
            events |= {act.id: act for act in frontier}
            if not frontier:
                break
        counted = match(events.values(), native.values(), held, window)
        changed = {event: row for event, row in counted.items() if held.get(event) != row}
        if changed:
            # Rows are let go first, for while they change hands no two events may have the same.
            conn.execute(self._sql["let_go"], {"ids": sorted(changed.keys() & held.keys())})
            parameters = {"ids": sorted(changed), "native_ids": [changed[event] for event in sorted(changed)]}
            conn.execute(self._sql["count_natively"], parameters)
            conn.execute(self._sql["remove_ours"], {"ids": sorted(-event for event in changed)})
        return len(new & changed.keys())

    def _native_near(self, conn: Connection, ours: Sequence[Act], window: timedelta) -> Sequence[Row[Any]]:
        """Return native rows within ``window`` of one of ``ours``, as to time and campaign, with their events."""
        if not ours:
            return []
        floor = self._floor(conn, min(act.at for act in ours) - window)
        if floor is None:
            return []
        parameters = {"floor": floor, "campaigns": _campaigns(ours), "spans": _spans(ours, window)}
        return conn.execute(self._sql["find_native_near"], parameters).all()

    def _ours_near(self, conn: Connection, native: Sequence[Act], window: timedelta) -> list[Act]:
        """Return the acts of ours within ``window`` of one of ``native``, as to time and campaign."""
        ceiling = self._ceiling(conn, min(act.at for act in native) - window)
        if ceiling is None:
            return []
        return self._acts(
            conn,
            "find_ours_near",
            ceiling=ceiling,
            campaigns=_campaigns(native),
            spans=_spans(native, window),
        )

    def _floor(self, conn: Connection, since: datetime) -> int | None:
        """Return an id below which no native row is as young as ``since``; None if none is at all."""
        floor: int | None = None
        below, limit = sys.maxsize, _FIRST_GLANCE
        while True:
            seen = conn.execute(self._sql["glance"], {"below": below, "limit": limit}).one()
            if not seen.rows or seen.latest < since - _SLACK:
                return floor
            floor = below = seen.lowest_id
            if seen.rows < limit:
                return floor
            limit *= 4

    def _ceiling(self, conn: Connection, since: datetime) -> int | None:
        """Return an id above which no row of ours is as young as ``since``: their ids fall. None if none is at all."""
        ceiling: int | None = None
        above, limit = -sys.maxsize, _FIRST_GLANCE
        while True:
            seen = conn.execute(self._sql["glance_ours"], {"above": above, "limit": limit}).one()
            if not seen.rows or seen.latest < since - _SLACK:
                return ceiling
            ceiling = above = seen.highest_id
            if seen.rows < limit:
                return ceiling
            limit *= 4

    def _acts(self, conn: Connection, query: str, **parameters: object) -> list[Act]:
        return [_act(row) for row in conn.execute(self._sql[query], parameters)]


VIEWS: Final = Tally("view", "campaign_views", "CAST(NULL AS integer)")
CLICKS: Final = Tally("click", "link_clicks", "link_id")


def _act(row: Row[Any]) -> Act:
    return Act(row.id, row.campaign_id, row.subscriber_id, row.link_id, row.created_at)


def _campaigns(acts: Iterable[Act]) -> list[int]:
    return sorted({act.campaign_id for act in acts if act.campaign_id is not None})


def _spans(acts: Iterable[Act], window: timedelta) -> Multirange[datetime]:
    """Return the times within ``window`` of the acts, overlapping ones as one."""
    spans: list[tuple[datetime, datetime]] = []
    for at in sorted(act.at for act in acts):
        if spans and at - window <= spans[-1][1]:
            spans[-1] = (spans[-1][0], at + window)
        else:
            spans.append((at - window, at + window))
    return Multirange(Range(start, end, "[]") for start, end in spans)
