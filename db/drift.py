"""What the drain processes count together, the names that none of them knows, and the alarms that follow."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row

from db.sql import load_queries

#: The alarm of events that cannot be read, or are of unknown types or statuses. It slows the drain.
POISON: Final = "poison"
#: The alarm of engagement events without an internetMessageId. It slows nothing: they match by Azure's id, or wait.
ID_MISSING: Final = "id_missing"
#: A name that was seen for the first time. It is noted once, and has no end.
DRIFT: Final = "drift"

#: Most names that are ever learnt: whoever writes keys without end shall not fill a table.
MOST_NAMES: Final = 200

#: What each alarm's share is a share of.
_COUNTED: Final = {POISON: "events", ID_MISSING: "engagements"}
_QUERIES: Final = {kind: load_queries("drift.sql", counted=counted) for kind, counted in _COUNTED.items()}
_ANY: Final = _QUERIES[POISON]


class Tally(NamedTuple):
    """Counts of events that were drained: all; malformed; of unknown type or status; engagements; those without id."""

    events: int = 0
    malformed: int = 0
    unknown: int = 0
    engagements: int = 0
    without_id: int = 0

    def of(self, kind: str) -> int:
        """How many events the share of an alarm of ``kind`` is taken of."""
        return self.engagements if kind == ID_MISSING else self.events

    def bad(self, kind: str) -> int:
        """How many of them are what that alarm is about."""
        return self.without_id if kind == ID_MISSING else self.malformed + self.unknown


@dataclass(frozen=True, slots=True)
class Alarm:
    """The latest alarm of a kind.

    ``found_at`` is when it was raised, ``since`` when it was raised last, which is later if it has come again within
    its window ``times``. ``ended_at`` is None while it is open.
    """

    id: int
    number: int
    found_at: datetime
    since: datetime
    ended_at: datetime | None
    ended_by: str | None
    times: int


def keep_tally(conn: Connection, tally: Tally, reasons: Mapping[str, int]) -> None:
    """Keep what this process has counted since the last time."""
    conn.execute(_ANY["tally"], tally._asdict() | {"reasons": json.dumps(reasons) if reasons else None})


def learn_names(conn: Connection, names: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Learn names, each with its kind, and note an incident for each that is new; return those.

    The incident tells the name of a key. Of a type or a status it tells only that there is a new one: that is a value.
    """
    if not names:
        return []
    ordered = sorted(names)
    parameters = {"kinds": [kind for kind, _ in ordered], "names": [name for _, name in ordered], "most": MOST_NAMES}
    new = conn.execute(_ANY["learn"], parameters).all()
    if new:
        details = [{"of": row.kind} | ({"key": row.name} if row.kind.endswith("_key") else {}) for row in new]
        conn.execute(
            _ANY["note_drift"], {"ids": [row.id for row in new], "details": [json.dumps(each) for each in details]}
        )
    return [(row.kind, row.name) for row in new]


def accepted_names(conn: Connection) -> set[tuple[str, str]]:
    """Return the names that an operator has accepted."""
    return {(row.kind, row.name) for row in conn.execute(_ANY["accepted_names"])}


def names_of(conn: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """Return learnt names by their ids, which their incidents have as subjects: kind, name, accepted_at."""
    return {row.id: row for row in conn.execute(_ANY["names_of"], {"ids": list(ids)})}


def read_alarms(conn: Connection) -> tuple[datetime, dict[str, Alarm | None]]:
    """Return the database's time, and the latest alarm of each kind.

    None is dated later than that: one that was, because the database's clock was ahead, is dated now, for good.
    """
    rows = conn.execute(_ANY["read_alarms"]).all()
    if ahead := [{"id": row.id} for row in rows if row.ahead]:
        conn.execute(_ANY["redate_alarm"], ahead)
        rows = conn.execute(_ANY["read_alarms"]).all()
    return rows[0].now, {row.kind: None if row.id is None else _alarm(row) for row in rows}


def _alarm(row: Row[Any]) -> Alarm:
    details: Mapping[str, Any] = row.details
    return Alarm(
        id=row.id,
        number=row.subject_id,
        found_at=row.found_at,
        since=datetime.fromisoformat(details["since"]) if "since" in details else row.found_at,
        ended_at=datetime.fromisoformat(details["ended_at"]) if details.get("ended_at") else None,
        ended_by=details.get("ended_by"),
        times=details.get("times", 1),
    )


def add_up(conn: Connection, since: datetime) -> Tally:
    """Add up the tallies of all processes since then."""
    return Tally(*map(int, conn.execute(_ANY["add_up"], {"since": since}).one()))


def add_up_newest(conn: Connection, kind: str, since: datetime, events: int) -> Tally:
    """Add up the newest tallies since then, as many as hold so many ``events`` that ``kind`` is about."""
    return Tally(*map(int, conn.execute(_QUERIES[kind]["add_up_newest"], {"since": since, "events": events}).one()))


def add_up_reasons(conn: Connection, since: datetime) -> dict[str, int]:
    """Return how many events were malformed for which reason since then, the most frequent first."""
    return {row.reason: int(row.events) for row in conn.execute(_ANY["add_up_reasons"], {"since": since})}


def open_alarm(conn: Connection, kind: str, number: int, details: Mapping[str, Any]) -> bool:
    """Raise an alarm; return False if another process has raised this ``number`` already."""
    parameters = {"kind": kind, "number": number, "details": json.dumps(details)}
    return conn.execute(_ANY["open_alarm"], parameters).rowcount == 1


def open_again(conn: Connection, alarm: Alarm, details: Mapping[str, Any]) -> bool:
    """Raise an alarm again that has ended; return False if another process has."""
    return conn.execute(_ANY["open_again"], {"id": alarm.id, "details": json.dumps(details)}).rowcount == 1


def end_alarm(conn: Connection, alarm: Alarm, details: Mapping[str, Any]) -> bool:
    """End an alarm; return False if it has ended already."""
    return conn.execute(_ANY["end_alarm"], {"id": alarm.id, "details": json.dumps(details)}).rowcount == 1


def dismiss_alarms(conn: Connection) -> tuple[list[str], int]:
    """End every alarm by an operator's word, and accept all names seen so far; return the kinds, and how many names."""
    accepted = conn.execute(_ANY["accept_names"]).rowcount
    return list(conn.execute(_ANY["end_alarms"]).scalars()), accepted


def purge_tallies(conn: Connection, older_than: datetime, *, limit: int) -> int:
    """Remove up to ``limit`` tallies from before then, or of the future; return how many."""
    return conn.execute(_ANY["purge_tallies"], {"older_than": older_than, "limit": limit}).rowcount
