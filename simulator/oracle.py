"""Compares the truth with the database, event by event. Its verdict is data; `simulator.report` prints it."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import psycopg

from simulator.truth import Expectation, Fate, Truth

_ROWS: Final = """
SELECT event_id, 'engagement', engagement_type, state::text, campaign_id, subscriber_id, event_timestamp
  FROM azure_engagement_events WHERE event_id IS NOT NULL
UNION ALL
SELECT event_id, 'delivery', status, state::text, campaign_id, subscriber_id, event_timestamp
  FROM azure_delivery_events WHERE event_id IS NOT NULL
"""
_COUNTS: Final = """
SELECT state::text, count(*) FROM (
    SELECT state FROM azure_engagement_events WHERE event_id IS NOT NULL
    UNION ALL SELECT state FROM azure_delivery_events WHERE event_id IS NOT NULL
) AS events GROUP BY 1
UNION ALL SELECT 'quarantined', count(*) FROM attribution_quarantine WHERE kind = 'event'
"""
_QUARANTINE: Final = "SELECT body FROM attribution_quarantine WHERE kind = 'event'"
#: How `simulator.acs` marks an event that it spoils, so that it is found whatever became of it.
_MARKER: Final = re.compile(rb"malformed-[0-9a-f]{32}")
#: Times are stored in microseconds, of which Azure's seventh digit is rounded or cut off.
_TIME_TOLERANCE: Final = timedelta(microseconds=1)


class Row(NamedTuple):
    """What the database says of one event."""

    event_id: str
    table: str
    what: str
    state: str
    campaign_id: int | None
    subscriber_id: int | None
    event_timestamp: datetime


class Fault(NamedTuple):
    """One event that did not end as it must: which, and what is the matter with it."""

    event_id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of every event of the ledger."""

    sent: int
    acknowledged: int
    dropped: int
    attributed: int
    parked: int
    expired: int
    quarantined: int
    ignored: int
    #: Acknowledged, but nowhere.
    lost: tuple[Fault, ...]
    #: In more than one place.
    twice: tuple[Fault, ...]
    #: Credited to the wrong campaign, subscriber or kind; or credited though it must not be; or not, though it must.
    wrong: tuple[Fault, ...]

    @property
    def sound(self) -> bool:
        """Whether not a single event is off."""
        return not (self.lost or self.twice or self.wrong)


def connect(database_url: str) -> psycopg.Connection:
    """Connect as the oracle's functions need it: each of them is a transaction of its own."""
    return psycopg.connect(database_url, autocommit=True, connect_timeout=5)


def count_states(connection: psycopg.Connection) -> Counter[str]:
    """Count stored events by state, and quarantined ones. Cheap enough to be asked several times a second."""
    return Counter(dict(connection.execute(_COUNTS).fetchall()))


def judge(truth: Truth, connection: psycopg.Connection) -> Verdict:
    """Compare every event of the ledger with the database as it is now.

    Events in the database that the ledger does not know are none of its business.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        with connection.cursor(name="oracle") as cursor:
            cursor.itersize = 10_000
            for values in cursor.execute(_ROWS):
                row = Row(*values)
                if row.event_id in truth.events:
                    rows[row.event_id].append(row)
        bodies = connection.execute(_QUARANTINE).fetchall()
    quarantined = Counter(marker.decode() for (body,) in bodies for marker in set(_MARKER.findall(body)))
    return _judge(truth, rows, quarantined)


def _judge(truth: Truth, rows: defaultdict[str, list[Row]], quarantined: Counter[str]) -> Verdict:
    states: Counter[str] = Counter()
    lost: list[Fault] = []
    twice: list[Fault] = []
    wrong: list[Fault] = []
    ignored = 0
    for expected in truth.expectations():
        event_id = expected.event.event_id
        found = rows.get(event_id, [])
        places = len(found) + quarantined[event_id]
        states.update(row.state for row in found)
        states["quarantined"] += quarantined[event_id]
        if not places:
            ignored += Fate.IGNORED in expected.fates and expected.acknowledged
            if expected.acknowledged and Fate.IGNORED not in expected.fates:
                lost.append(Fault(event_id, f"acknowledged, must be {_either(expected.fates)}, and is nowhere"))
        if places > 1:
            twice.append(Fault(event_id, f"is in {len(found)} rows and {quarantined[event_id]} times in quarantine"))
        if quarantined[event_id] and Fate.QUARANTINED not in expected.fates:
            wrong.append(Fault(event_id, f"must be {_either(expected.fates)}, and is quarantined"))
        for row in found:
            if sentence := _what_is_wrong(expected, row):
                wrong.append(Fault(event_id, sentence))
    return Verdict(
        sent=len(truth.events),
        acknowledged=len(truth.acknowledged),
        dropped=len(truth.dropped - truth.acknowledged.keys()),
        attributed=states["attributed"],
        parked=states["parked"],
        expired=states["expired"],
        quarantined=states["quarantined"],
        ignored=ignored,
        lost=tuple(lost),
        twice=tuple(twice),
        wrong=tuple(wrong),
    )


def _what_is_wrong(expected: Expectation, row: Row) -> str | None:
    event, message = expected.event, expected.message
    fate = Fate.ATTRIBUTED if row.state == "attributed" else Fate.WAITING
    if fate not in expected.fates:
        return f"must be {_either(expected.fates)}, and is {row.state}"
    table = "engagement" if event.what in {"view", "click"} else "delivery"
    if (row.table, row.what.casefold()) != (table, event.what.casefold()):
        return f"is a {event.what} ({table}), and is stored as a {row.what} ({row.table})"
    if event.at is not None and abs(row.event_timestamp - event.at) > _TIME_TOLERANCE:
        return f"happened at {event.at}, and is stored as {row.event_timestamp}"
    if fate is Fate.WAITING:
        credited = (row.campaign_id, row.subscriber_id)
        return None if credited == (None, None) else f"waits, but names campaign and subscriber {credited}"
    if message is None or row.campaign_id != message.campaign_id:
        owner = message.campaign_id if message else None
        return f"belongs to campaign {owner}, and is credited to campaign {row.campaign_id}"
    if row.subscriber_id != message.subscriber_id:
        return f"belongs to subscriber {message.subscriber_id}, and is credited to subscriber {row.subscriber_id}"
    return None


def _either(fates: Iterable[Fate]) -> str:
    return " or ".join(sorted(fates))


def await_verdict(truth: Truth, connection: psycopg.Connection, *, within: float) -> Verdict:
    """Judge when the database has come to rest: at once if all is sound, else again, for ``within`` seconds at most.

    The system may take its time between an acknowledgement and a row; it is judged by where it ends.
    """
    deadline = time.monotonic() + within
    counts = None
    while True:
        before, counts = counts, count_states(connection)
        late = time.monotonic() > deadline
        # While rows are still moving, a comparison of every event would only tell what the counts say already.
        if late or counts == before or counts.total() >= len(truth.events):
            verdict = judge(truth, connection)
            if late or verdict.sound:
                return verdict
        time.sleep(0.2)
