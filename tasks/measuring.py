"""What operators watch is measured once, for every process that is asked, and not at each scrape."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db import measuring
from db.allowance import allow_time
from db.drift import read_alarms
from db.forecast import read_waits
from db.outbox import count_unsent, count_webhooks
from db.parking import EVENT_TABLES, count_expired, count_parked
from db.reporting import measure_accuracy
from tasks.context import Context, context
from tasks.population_alert import report_population
from worker.app import app
from worker.errors import DatabaseAway
from worker.queues import ALL
from worker.stream_consumer import connect
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics
from worker.telemetry.exposition import Samples, keep_measured
from worker.telemetry.redis_measures import measure_queues, measure_streams

_log = logging.getLogger(__name__)

#: What is counted of late is counted of so much time.
WINDOW: Final = timedelta(hours=1)
#: How long after its time a retry is overdue. The sweep comes every few seconds.
LATE: Final = timedelta(minutes=1)
#: Waits of the past that a forecast is made of, the newest; the command of an operator looks at more.
MOST_WAITS: Final = 20_000
#: Campaigns that are told by number; more would be more series than a monitor should have to keep.
MOST_CAMPAIGNS: Final = 20
#: Longest that one statement may take, and after which nothing more is asked of PostgreSQL this time: while it is slow,
#: or away, this must not hold more than one of the pool's processes, which sweeps and trackings need.
LONGEST_STATEMENT: Final = timedelta(seconds=4)
LONGEST_RUN: Final = timedelta(seconds=8)

Measured = dict[metrics.Measure, Samples]


@app.task(name="measure")
def measure() -> str:
    """Measure what the gauges tell, and keep it in Redis. Safe when run twice at once."""
    return f"measured {len(take_measures(context()))}"


def take_measures(ctx: Context) -> Measured:
    """Measure everything and keep it. What PostgreSQL cannot tell just now is missing; the rest is there.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    measured: Measured = {}
    settings = ctx.settings
    with connect((settings.broker_url or settings.redis_url).get_secret_value()) as broker:
        measured |= measure_queues(broker, ALL)

    def expectation(conn: Connection) -> Measured:
        return _expected(conn, settings.park_deadline + settings.park_schedule[-1])

    until = time.monotonic() + LONGEST_RUN.total_seconds()
    watched = (_clock, _parked, _overdue, _population, _proof, _incidents, _outbox, _archive)  # by alerts
    for take in (*watched, expectation, _acts, _expired):
        if time.monotonic() >= until:
            _log.warning("PostgreSQL is slow, or away; from %s on nothing was measured", take.__name__.strip("_"))
            break
        try:
            ctx.require_postgresql()
            with ctx.engine.begin() as conn, allow_time(conn, LONGEST_STATEMENT):
                measured |= take(conn)
        except DatabaseAway:
            _log.warning("PostgreSQL cannot be used; from %s on nothing was measured", take.__name__.strip("_"))
            break
        except SQLAlchemyError as error:
            _log.warning("%s could not be measured (%s)", take.__name__.strip("_"), type(error).__name__)
    with connect(settings.redis_url.get_secret_value()) as client:
        measured |= measure_streams(client, (EVENTS, MESSAGES))
        keep_measured(client, measured)
    report_population(measured, least=settings.alarm_least)
    return measured


def _one(value: float) -> Samples:
    return [((), float(value))]


def _age(conn: Connection, since: datetime | None) -> Samples:
    return _one(max(0.0, measuring.now(conn) - since.timestamp()) if since else 0)


def _clock(conn: Connection) -> Measured:
    """Tell that PostgreSQL answers, however long the rest may take it."""
    return {metrics.MEASURED_AT: _one(measuring.now(conn))}


def _parked(conn: Connection) -> Measured:
    parked = count_parked(conn)
    return {metrics.PARKED: _one(parked.events), metrics.PARKED_AGE: _age(conn, parked.oldest_at)}


def _overdue(conn: Connection) -> Measured:
    return {metrics.OVERDUE: _one(measuring.count_overdue(conn, LATE))}


def _expired(conn: Connection) -> Measured:
    return {metrics.EXPIRED: _one(count_expired(conn).events)}


def _expected(conn: Connection, deadline: timedelta) -> Measured:
    """What is to be expected of both kinds of events that wait; of those that the past tells nothing of, that."""
    expected = dict.fromkeys(("soon", "later", "never", "unknown"), 0.0)
    for table in EVENT_TABLES:
        waits = read_waits(conn, table, limit=MOST_WAITS)
        told = waits.forecast(deadline)
        expected["soon"] += told.soon.events
        expected["later"] += told.later
        # What is not matched as far as the past goes may be, later: only a past that reaches the deadline says never.
        expected["never" if told.reaches_deadline else "unknown"] += told.never.events
        expected["unknown"] += told.untold + waits.others
    return {metrics.PARKED_EXPECTED: [((name,), number) for name, number in expected.items()]}


def _population(conn: Connection) -> Measured:
    """Shares of what there was; of nothing there is no share."""
    tallied = measuring.add_up_tallies(conn, WINDOW)
    tracked = measuring.count_tracked(conn, WINDOW)
    of = {
        "engagements": (tallied.engagements - tallied.without_id, tallied.engagements),
        "messages": (tracked.with_id, tracked.messages),
    }
    return {
        metrics.POPULATION: [((name,), float(part / whole)) for name, (part, whole) in of.items() if whole],
        metrics.POPULATION_OF: [((name,), float(whole)) for name, (_, whole) in of.items()],
        metrics.MALFORMED: _one(tallied.malformed / tallied.events) if tallied.events else [],
    }


def _proof(conn: Connection) -> Measured:
    since = datetime.fromtimestamp(measuring.now(conn), tz=UTC) - WINDOW
    clicks = measure_accuracy(conn, since=since)
    return {metrics.TWO_KEYS: [(("agree",), float(clicks.agreeing)), (("disagree",), float(clicks.disagreeing))]}


def _incidents(conn: Connection) -> Measured:
    _, alarms = read_alarms(conn)
    return {
        metrics.INCIDENTS_KEPT: [((kind,), float(n)) for kind, n in measuring.count_incidents(conn).items()],
        metrics.ALARMS: [
            ((kind,), float(alarm is not None and alarm.ended_at is None)) for kind, alarm in alarms.items()
        ],
    }


def _outbox(conn: Connection) -> Measured:
    unsent, batches = count_unsent(conn), count_webhooks(conn)
    # What was given up waits for an operator, and not for the webhook: it would hide what comes to a halt after it.
    waiting = [unsent, *(each for each in batches if each.state == "waiting")]
    oldest = [each.oldest_at for each in waiting if each.oldest_at]
    counted = {"waiting": 0, "given_up": 0} | {each.state: each.batches for each in batches}
    return {
        metrics.OUTBOX: _one(sum(each.events for each in waiting)),
        metrics.OUTBOX_AGE: _age(conn, min(oldest, default=None)),
        metrics.WEBHOOKS_KEPT: [((state,), float(number)) for state, number in counted.items()],
    }


def _archive(conn: Connection) -> Measured:
    return {metrics.ARCHIVE_BYTES: _one(measuring.archive_bytes(conn))}


def _acts(conn: Connection) -> Measured:
    return {
        metrics.CAMPAIGN_ACTS: [
            (("other" if row.campaign_id is None else str(row.campaign_id), act), float(count))
            for row in measuring.count_acts(conn, WINDOW, campaigns=MOST_CAMPAIGNS)
            for act, count in (("view", row.views), ("click", row.clicks))
        ]
    }
