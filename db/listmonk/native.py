"""Acts that listmonk's own pixel or redirect has counted as well: each is counted once, whichever came first.

Both sides write and commit, and each then looks for the other: we, before our commit for the native rows that are there
(`Tally.absorb`) and once more after it for those that came meanwhile; and a periodic task for the native rows that come
later (`Tally.watch`), which sees every one of them at least once after its commit. So whoever commits last is seen
together with the other. Whose rows belong together is decided under one lock, from what is committed by then.

Where a native row and an event are one act, listmonk's row stays, and our event says which row counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range
from sqlalchemy import Connection, Row, TextClause

from db.listmonk.matching import Act, match
from db.sql import load_queries

#: How much earlier than its neighbours a row may have happened and still have been written after them.
_SLACK: Final = timedelta(minutes=15)
#: How often the search goes on to events near rows that are near ours. Chains of acts so close to each other are rare.
_ROUNDS: Final = 5
#: Most native rows looked at in one transaction of the watch.
WATCHED: Final = 5000
#: How many rows back nameless native rows are looked for where listmonk names its readers: they are from before it did.
_NAMELESS_REACH: Final = 200_000


class Watched(NamedTuple):
    """How many events native rows have come to count, and whether there are more rows to be looked at."""

    absorbed: int = 0
    more: bool = False


class Rules(NamedTuple):
    """How far two rows of one act may lie from each other, and whether listmonk names its readers."""

    window: timedelta
    individual: bool


class Tally:
    """One of listmonk's two tables of acts: ``campaign_views`` or ``link_clicks``."""

    def __init__(self, engagement_type: str, results: str, *, linked: bool) -> None:
        self.engagement_type = engagement_type
        self._sql: Mapping[str, TextClause] = load_queries(
            "native.sql",
            engagement_type=engagement_type,
            results=results,
            link_id="link_id" if linked else "CAST(NULL AS integer)",
            link_column="link_id," if linked else "",
            link_value="u.link_id," if linked else "",
        )

    def absorb(self, conn: Connection, events: Sequence[int], rules: Rules) -> int:
        """Let native rows count those of our ``events``, given by their row ids, that they are one act with.

        Our rows of those go. Returns how many there were.
        """
        if not events or not rules.window:
            return 0
        # Most often there is nothing native at all, or nothing so recent: that is to cost next to nothing.
        newest: int | None = conn.execute(self._sql["newest_native"]).scalar()
        if newest is None:
            return 0
        ids = [-event for event in events]
        since = conn.execute(self._sql["oldest_of_ours"], {"ids": ids}).scalar()
        if since is None or not self._is_as_young(conn, "latest_at", newest - 49, since - rules.window):
            return 0
        ours = self._acts(conn, "find_ours", ids=ids)
        if not self._native_near(conn, ours, rules):
            return 0
        conn.execute(self._sql["one_at_a_time"])
        return self._settle(conn, self._acts(conn, "find_ours", ids=ids), rules)

    def watch(self, conn: Connection, rules: Rules, *, limit: int) -> Watched:
        """Look at native rows that have come since the last time, and let them count what they are one act with.

        A transaction of its own, for up to ``limit`` rows. Does nothing while another one does it.
        """
        mark = conn.execute(self._sql["lock_mark"]).one_or_none()
        if mark is None:
            return Watched()
        newest = conn.execute(self._sql["newest_id"]).scalar_one()
        absorbed, seen, more = 0, mark.seen_id, False
        if mark.all_there:
            native = self._acts(conn, "list_native", after=seen, upto=mark.pending_id, limit=limit)
            absorbed += self._absorb_near(conn, native, rules)
            more = len(native) == limit
            seen = native[-1].id if more else mark.pending_id
            conn.execute(self._sql["move_mark"], {"seen_id": seen})
            if not more:
                conn.execute(self._sql["set_pending"], {"newest_id": newest})
        # Rows that may have company still to come: looked at now, so that nobody waits, and again when all are there.
        native = self._acts(conn, "list_newest_native", after=seen, limit=limit)
        absorbed += self._absorb_near(conn, native, rules)
        return Watched(absorbed, more)

    def begin_watching(self, conn: Connection) -> None:
        """Remember where native rows are to be watched from. Call it before the first row of ours is written."""
        conn.execute(self._sql["add_mark"])

    def _absorb_near(self, conn: Connection, native: Sequence[Act], rules: Rules) -> int:
        if not native or not rules.window or not self._ours_near(conn, native, rules):
            return 0
        conn.execute(self._sql["one_at_a_time"])
        return self._settle(conn, self._ours_near(conn, native, rules), rules)

    def _settle(self, conn: Connection, ours: Sequence[Act], rules: Rules) -> int:
        """Match ``ours`` with native rows, and with the events that those rows count already, as far as they reach."""
        native: dict[int, Act] = {}
        held: dict[int, int] = {}
        events = {act.id: act for act in ours}
        frontier = list(ours)
        for _ in range(_ROUNDS):
            rows = [row for row in self._native_near(conn, frontier, rules) if row.id not in native]
            native |= {row.id: _act(row) for row in rows}
            held |= {row.event_id: row.id for row in rows if row.event_id is not None}
            frontier = [_counted(row) for row in rows if row.event_id is not None and row.event_id not in events]
            events |= {act.id: act for act in frontier}
            if not frontier:
                break
        # Who is counted by a row for another reason than nearness (a repair, a wider window once) stays so, and so does
        # whoever is too far away to be looked at.
        settled = {
            event: row
            for event, row in held.items()
            if event not in events or not _may_be_one(events[event], native[row], rules.window)
        }
        held = {event: row for event, row in held.items() if event not in settled}
        free = [act for act in native.values() if act.id not in settled.values()]
        counted = match((act for act in events.values() if act.id not in settled), free, rules.window)
        # Rows change hands only if more acts are counted once by it.
        new = [act for act in events.values() if act.id not in settled and act.id not in held]
        kept = held | match(new, (act for act in free if act.id not in held.values()), rules.window)
        counted = counted if len(counted) > len(kept) else kept
        self._write(conn, events, held, counted, rules)
        return len({act.id for act in ours} & counted.keys())

    def _write(
        self,
        conn: Connection,
        events: Mapping[int, Act],
        held: Mapping[int, int],
        counted: Mapping[int, int],
        rules: Rules,
    ) -> None:
        """Bring the tables from who is ``held`` by which native row to who is to be ``counted`` by which."""
        gained = {event: row for event, row in sorted(counted.items()) if held.get(event) != row}
        lost = sorted(event for event in held if event in events and event not in counted)
        if not gained and not lost:
            return
        concerned = [events[event] for event in (*gained, *lost)]
        conn.execute(self._sql["keep_campaigns"], {"campaigns": _campaigns(concerned)})
        conn.execute(self._sql["keep_subscribers"], {"subscribers": _readers(concerned)})
        conn.execute(self._sql["let_go"], {"ids": sorted({*lost, *(gained.keys() & held.keys())})})
        conn.execute(self._sql["count_natively"], {"ids": list(gained), "native_ids": list(gained.values())})
        conn.execute(self._sql["remove_ours"], {"ids": [-event for event in gained]})
        if lost:
            parameters = {"ids": lost, "link_ids": [events[event].link_id for event in lost]}
            conn.execute(self._sql["count_again"], parameters | {"individual": rules.individual})

    def _native_near(self, conn: Connection, ours: Sequence[Act], rules: Rules) -> list[Row[Any]]:
        """Return native rows that may be one act with one of ``ours``, each with the event that it counts already."""
        if not ours:
            return []
        near = {"campaigns": _campaigns(ours), "spans": _spans(ours, rules.window)}
        rows: list[Row[Any]] = []
        if readers := _readers(ours):
            rows += conn.execute(self._sql["find_native_of_readers"], {"subscribers": readers, **near})
        newest: int | None = conn.execute(self._sql["newest_native"]).scalar()
        floor = self._first_id(conn, "latest_at", newest, min(act.at for act in ours) - rules.window)
        if newest is not None and floor is not None and not (rules.individual and newest - floor > _NAMELESS_REACH):
            rows += conn.execute(self._sql["find_nameless_native"], {"floor": floor, **near})
        return rows

    def _ours_near(self, conn: Connection, native: Sequence[Act], rules: Rules) -> list[Act]:
        """Return the acts counted by rows of ours that may be one with one of ``native``."""
        near = {"campaigns": _campaigns(native), "spans": _spans(native, rules.window)}
        found: dict[int, Act] = {}
        if readers := _readers(native):
            acts = self._acts(conn, "find_ours_of_readers", subscribers=readers, **near)
            found |= {act.id: act for act in acts}
        if nameless := [act for act in native if act.subscriber_id is None]:
            newest = conn.execute(self._sql["newest_event"]).scalar()
            # An event is written after it has happened.
            floor = self._first_id(conn, "latest_event_at", newest, min(act.at for act in nameless) - rules.window)
            if floor is not None:
                near = {"campaigns": _campaigns(nameless), "spans": _spans(nameless, rules.window)}
                found |= {act.id: act for act in self._acts(conn, "find_ours_since", floor=floor, **near)}
        return list(found.values())

    def _first_id(self, conn: Connection, query: str, newest: int | None, since: datetime) -> int | None:
        """Return an id below which no row is as young as ``since``, found by halves; None if none is at all."""
        if newest is None or not self._is_as_young(conn, query, newest - 49, since):
            return None
        low, high = 1, newest
        while low < high:
            middle = (low + high) // 2
            if self._is_as_young(conn, query, middle, since):
                high = middle
            else:
                low = middle + 1
        return low

    def _is_as_young(self, conn: Connection, query: str, from_id: int, since: datetime) -> bool:
        latest = conn.execute(self._sql[query], {"id": max(from_id, 1)}).one().latest
        return latest is not None and latest >= since - _SLACK

    def _acts(self, conn: Connection, query: str, **parameters: object) -> list[Act]:
        return [_act(row) for row in conn.execute(self._sql[query], parameters)]


VIEWS: Final = Tally("view", "campaign_views", linked=False)
CLICKS: Final = Tally("click", "link_clicks", linked=True)


def _act(row: Row[Any]) -> Act:
    return Act(row.id, row.campaign_id, row.subscriber_id, row.link_id, row.created_at)


def _counted(row: Row[Any]) -> Act:
    """Return the event that a native row counts."""
    return Act(row.event_id, row.campaign_id, row.event_subscriber_id, row.link_id, row.event_timestamp)


def _may_be_one(event: Act, row: Act, window: timedelta) -> bool:
    return (
        abs(event.at - row.at) <= window
        and (event.campaign_id, event.link_id) == (row.campaign_id, row.link_id)
        and row.subscriber_id in (None, event.subscriber_id)
    )


def _campaigns(acts: Iterable[Act]) -> list[int]:
    return sorted({act.campaign_id for act in acts if act.campaign_id is not None})


def _readers(acts: Iterable[Act]) -> list[int]:
    return sorted({act.subscriber_id for act in acts if act.subscriber_id is not None})


def _spans(acts: Iterable[Act], window: timedelta) -> Multirange[datetime]:
    """Return the times within ``window`` of the acts, overlapping ones as one."""
    spans: list[tuple[datetime, datetime]] = []
    for at in sorted(act.at for act in acts):
        if spans and at - window <= spans[-1][1]:
            spans[-1] = (spans[-1][0], at + window)
        else:
            spans.append((at - window, at + window))
    return Multirange(Range(start, end, "[]") for start, end in spans)
