"""Compares the truth with the database, event by event. `simulator.report` prints its verdict."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import psycopg

from simulator.listmonk_oracle import Tables, judge_tables, read_tables
from simulator.truth import ENGAGEMENTS, Expectation, Fate, Truth
from simulator.verdict import Fault, Faults, Verdict

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
#: How `simulator.acs` marks an event that it spoils, so that it is found whatever became of it; and any other's id.
_MARKER: Final = re.compile(rb'malformed-[0-9a-f]{32}|(?<="id":")[^"\\]{1,100}|(?<="id": ")[^"\\]{1,100}')
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


def connect(database_url: str) -> psycopg.Connection:
    """Connect as the oracle's functions need it: each of them is a transaction of its own."""
    return psycopg.connect(database_url, autocommit=True, connect_timeout=5)


def count_states(connection: psycopg.Connection) -> Counter[str]:
    """Count stored events by state, and quarantined ones. Cheap enough to be asked several times a second."""
    return Counter(dict(connection.execute(_COUNTS).fetchall()))


def judge(truth: Truth, connection: psycopg.Connection) -> Verdict:
    """Compare every event of the ledger with the database as it is now.

    Where the ledger says that the database is listmonk's, its tables are judged, too. Events and campaigns that the
    ledger does not know are none of the oracle's business.
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
        tables = read_tables(connection) if truth.listmonk else None
    found = (marker.decode(errors="replace") for (body,) in bodies for marker in set(_MARKER.findall(body)))
    quarantined = Counter(event_id for event_id in found if event_id in truth.events)
    return _judge(truth, rows, quarantined, tables)


def _judge(
    truth: Truth, rows: defaultdict[str, list[Row]], quarantined: Counter[str], tables: Tables | None
) -> Verdict:
    states: Counter[str] = Counter()
    faults = Faults()
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
                sentence = f"acknowledged, must be {_either(expected.fates)}, and is nowhere"
                faults.lost.append(Fault.of_event(event_id, sentence))
        if places > 1:
            sentence = f"is in {len(found)} rows and {quarantined[event_id]} times in quarantine"
            faults.twice.append(Fault.of_event(event_id, sentence))
        if quarantined[event_id] and Fate.QUARANTINED not in expected.fates:
            sentence = f"must be {_either(expected.fates)}, and is quarantined"
            faults.wrong.append(Fault.of_event(event_id, sentence))
        for row in found:
            if difference := _what_is_wrong(expected, row):
                faults.wrong.append(Fault.of_event(event_id, difference))
    attributed = {event_id for event_id, found in rows.items() if any(row.state == "attributed" for row in found)}
    in_listmonk = judge_tables(truth, tables, attributed, faults) if tables is not None else {}
    return Verdict(
        sent=len(truth.events),
        acknowledged=len(truth.acknowledged),
        dropped=len(truth.dropped - truth.acknowledged.keys()),
        attributed=states["attributed"],
        parked=states["parked"],
        expired=states["expired"],
        quarantined=states["quarantined"],
        ignored=ignored,
        lost=tuple(faults.lost),
        twice=tuple(faults.twice),
        wrong=tuple(faults.wrong),
        in_listmonk=in_listmonk,
    )


def _what_is_wrong(expected: Expectation, row: Row) -> str | None:
    event, message = expected.event, expected.message
    fate = Fate.ATTRIBUTED if row.state == "attributed" else Fate.WAITING
    if fate not in expected.fates:
        return f"must be {_either(expected.fates)}, and is {row.state}"
    table = "engagement" if event.what in ENGAGEMENTS else "delivery"
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
