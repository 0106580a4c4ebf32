"""The backfill: the replaced system's log is read once more, for what it says about the messages that it tracked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, Row

from db.backfill import Conflict, Learnt, absorb_journalled, learn, release_journalled, set_aside_ids
from db.journal import Journal, keep_summary
from db.models import MessageIds
from db.parking import Released
from db.results import Results
from db.runs import advance, position_of
from db.webhook_logs import has_logs, list_logs, newest_log, read_logs
from tasks.eventgrid import Parsed, parse_body
from tasks.patience import patiently
from tasks.settling import release_or_leave
from worker.errors import AttributionError

#: The name under which its position is kept.
SOURCE: Final = "backfill of webhook_logs"
#: Requests in one transaction, and how many bytes of them at the most, unless one alone is larger.
BATCH: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024
#: Conflicts that are kept with the run. A log that holds more is to be looked into, not listed.
_LISTED: Final = 1000


class NoWebhookLogs(AttributionError):
    """This database has no table webhook_logs, so there is nothing to learn from.

    If the bodies of the replaced system's requests are kept elsewhere, load them into a table of that name; if not,
    `attribution repair` still corrects what carries an id that is known.
    """


@dataclass(slots=True)
class Backfilled:
    """What a backfill has read so far, kept with the run after each batch. What it changed, the journal knows."""

    bodies: int = 0
    events: int = 0
    unreadable: int = 0
    known: int = 0
    conflicts: int = 0
    listed: list[Conflict] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return it as it is stored with the run."""
        return {
            "bodies": self.bodies,
            "events": self.events,
            "unreadable": self.unreadable,
            "known": self.known,
            "conflicts": self.conflicts,
            "listed": [list(conflict) for conflict in self.listed],
        }

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> Backfilled:
        """Return what an interrupted run had done."""
        return cls(**{**summary, "listed": [Conflict(*conflict) for conflict in summary["listed"]]})

    def add(self, learnt: Learnt, parsed: Parsed, *, bodies: int) -> None:
        """Count a batch."""
        self.bodies += bodies
        self.events += len(parsed.deliveries) + len(parsed.engagements)
        self.unreadable += len(parsed.malformed)
        self.known += learnt.known
        self.conflicts += len(learnt.conflicts)
        self.listed += learnt.conflicts[: max(0, _LISTED - len(self.listed))]


def require_logs(engine: Engine) -> None:
    """Return if there is a log to read.

    Raises:
        NoWebhookLogs: there is none.
    """
    with engine.begin() as conn:
        if not has_logs(conn):
            raise NoWebhookLogs


def begin_reading(engine: Engine, journal: Journal, *, resumed: bool) -> tuple[int, int]:
    """Return after which row of the log to begin, and up to which there is something to read.

    A run that is not ``resumed`` begins at the beginning: what an earlier one read may have been undone since.
    """
    with engine.begin() as conn:
        if not resumed:
            advance(conn, SOURCE, 0, journal.run_id)
        return position_of(conn, SOURCE).position, newest_log(conn)


def backfill(
    engine: Engine,
    journal: Journal,
    results: Results,
    done: Backfilled,
    *,
    after: int,
    until: int,
    pause: timedelta = timedelta(0),
    size: int = BATCH,
) -> Iterator[int]:
    """Learn from the log's rows behind ``after``, up to ``until``; yield how far it has come since the last time.

    Two short transactions a batch: what was learnt is committed before what waits for it is released, for the reason
    told in ARCHITECTURE.md. The position is written with the second, so an interrupted batch is done again, which finds
    the first half done.
    """
    with engine.begin() as conn:
        set_aside = set_aside_ids(conn)
    while rows := _next_rows(engine, after, until, size):
        parsed = Parsed()
        for row in rows:
            if row.request_body:
                parse_body(
                    row.request_body.encode(errors="replace"),
                    parsed,
                    entry_id=None,
                    received_at=row.created_at or datetime.now(UTC),
                )

        def learn_batch(parsed: Parsed = parsed) -> Learnt:
            with engine.begin() as conn:
                return learn(conn, journal, parsed.deliveries, parsed.engagements, set_aside)

        learnt = patiently(learn_batch)
        _release(engine, journal, results, learnt.messages)
        done.add(learnt, parsed, bodies=len(rows))
        reached = rows[-1].id

        def go_on(reached: int = reached) -> None:
            with engine.begin() as conn:
                advance(conn, SOURCE, reached, journal.run_id)
                keep_summary(conn, journal.run_id, done.summary())

        patiently(go_on)
        yield reached - after
        after = reached
        time.sleep(pause.total_seconds())
    with engine.begin() as conn:
        advance(conn, SOURCE, max(after, until), journal.run_id, finished=True)


def _next_rows(engine: Engine, after: int, until: int, size: int) -> Sequence[Row[Any]]:
    """Read the next rows: as many as make a batch, and are not too much to hold."""
    with engine.begin() as conn:
        chosen: list[int] = []
        held = 0
        for row in list_logs(conn, after=after, limit=size):
            held += row.body_bytes
            if row.id > until or (chosen and held > _BATCH_BYTES):
                break
            chosen.append(row.id)
        return read_logs(conn, chosen) if chosen else []


def _release(engine: Engine, journal: Journal, results: Results, ids: MessageIds) -> None:
    while ids:

        def release_now(ids: MessageIds = ids) -> Released:
            with engine.begin() as conn:
                return release_journalled(conn, journal, ids, results)

        batch = release_or_leave(release_now) or Released()
        if batch.engagements:

            def absorb(engagements: Sequence[int] = batch.engagements) -> None:
                with engine.begin() as conn:
                    absorb_journalled(conn, journal, engagements, results)

            patiently(absorb)
        ids = batch.taught
