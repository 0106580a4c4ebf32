"""The events' pipeline: parse, attribute or park in one transaction, commit, look once more at what was parked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from db.archive import Packed, keep
from db.erased import Key
from db.events import Recorded, record_events
from db.quarantine import quarantine
from db.results import Results
from tasks.archiving import pack
from tasks.batch import Body, Drained, count_committed
from tasks.eventgrid import Parsed, content_key, parse_body
from tasks.patience import patiently
from tasks.privacy.leaving_out import Erased, keys_of, leave_out_erased, record_the_rest
from tasks.privacy.recipients import Recipients
from tasks.settling import settle
from worker.json_parts import split_parts
from worker.telemetry.tracing import trace_part


class EventRows(NamedTuple):
    """A batch of events to be written, and its bodies: as they were read, and packed for the archive.

    ``too_old`` counts those that were left out because of their age.
    """

    parsed: Parsed
    packed: Packed | None
    bodies: Sequence[Body] = ()
    too_old: int = 0


@dataclass(frozen=True, slots=True)
class EventPipeline:
    """What is done to events.

    ``first_wait`` is the time until a parked event's first retry; it strays by the fraction ``jitter``. ``run_id`` is
    the run that brings the events, if it is not the stream. ``recipients`` says how those are written down,
    ``archived`` whether bodies are kept for a replay, and ``not_before`` from when on events are recorded at all: what
    is older may have been counted, and removed with all that it would be known again by. ``counted``: see `Pipeline`.
    """

    first_wait: timedelta
    jitter: float
    results: Results = field(default_factory=Results)
    run_id: int | None = None
    recipients: Recipients = field(default_factory=Recipients)
    archived: bool = False
    not_before: datetime | None = None
    counted: bool = False
    kind: str = "event"

    def parse(self, bodies: Sequence[Body]) -> EventRows:
        """Read every body, its recipients hidden; what cannot be read is among the result's malformed parts."""
        recipients = self.recipients
        bodies = [Body(recipients.hide(body), entry_id, received_at) for body, entry_id, received_at in bodies]
        parsed = Parsed()
        for position, (body, entry_id, received_at) in enumerate(bodies):
            sound = len(parsed.malformed)
            parse_body(
                body,
                parsed,
                entry_id=entry_id,
                received_at=received_at,
                bounces=self.results.bounces,
                recipient=recipients.kept,
            )
            if self.archived and len(parsed.malformed) > sound:
                # Where a recipient is named in a way that is not read, only a look at the bytes finds him.
                bodies[position] = Body(self.hide(body), entry_id, received_at)
        parsed.malformed = [
            part._replace(body=hidden, content_key=content_key(self.kind, hidden))
            for part in parsed.malformed
            for hidden in [self.hide(part.body)]
        ]
        too_old = 0 if self.not_before is None else _leave_out(parsed, self.not_before)
        return EventRows(parsed, pack(bodies) if self.archived else None, bodies, too_old)

    def keys(self, rows: EventRows) -> set[Key]:
        """Return what the rows would be known again by if they had been erased."""
        return {*keys_of([*rows.parsed.deliveries, *rows.parsed.engagements], rows.parsed.malformed)}

    def hide(self, body: bytes) -> bytes:
        """Return bytes that are no events as they may be kept."""
        return self.recipients.hide_loosely(body)

    def record(self, engine: Engine, rows: EventRows) -> Drained:
        """Write events and malformed parts in one transaction; after its commit, re-check what is unsettled.

        The race this closes: the drain reads the tracking table, finds nothing and parks; meanwhile a mailer's tracking
        commits, and its release finds nothing parked, for we have not committed. Each would miss the other for ever. So
        each side commits first and then looks again, in a new transaction: whoever commits last sees the other's row.
        The caller acknowledges only afterwards, so a crash in between has the batch redelivered and checked again.
        """
        parsed = rows.parsed

        def attribute_or_park() -> Recorded:
            with engine.begin() as conn:
                leave_out_erased(conn, lambda: self.keys(rows))
                if rows.packed is not None:
                    keep(conn, self.kind, rows.packed)
                quarantine(conn, parsed.malformed)
                return record_events(
                    conn,
                    parsed.deliveries,
                    parsed.engagements,
                    first_wait=self.first_wait,
                    jitter=self.jitter,
                    results=self.results,
                    run_id=self.run_id,
                )

        with trace_part("record"):
            try:
                recorded = patiently(attribute_or_park)
            except Erased as erased:
                return record_the_rest(self, engine, rows.bodies, erased)
        drained = Drained(
            attributed=recorded.attributed,
            parked=recorded.parked,
            duplicates=recorded.duplicates,
            contradictions=recorded.contradictions,
            taught=recorded.taught,
            ignored=parsed.ignored,
            too_old=rows.too_old,
            quarantined=dict(Counter(part.reason for part in parsed.malformed)),
        )
        if self.counted:
            count_committed(drained)
        with trace_part("settle"):
            released = Drained(released=settle(engine, self.results, recorded.unsettled, recorded.engagements))
        if self.counted:
            count_committed(released)
        drained += released
        return drained

    def split(self, body: bytes) -> list[bytes]:
        """Return the events of an array, each as it stands."""
        return split_parts(body)


def _leave_out(parsed: Parsed, not_before: datetime) -> int:
    """Leave out the events that happened before then; return how many."""
    every = len(parsed.deliveries) + len(parsed.engagements)
    parsed.deliveries = [event for event in parsed.deliveries if event.event_timestamp >= not_before]
    parsed.engagements = [event for event in parsed.engagements if event.event_timestamp >= not_before]
    return every - len(parsed.deliveries) - len(parsed.engagements)
