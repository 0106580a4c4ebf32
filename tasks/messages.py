"""The send-trackings' pipeline: the one room behind the three doors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Engine

from db.archive import Packed, keep
from db.erased import Key
from db.models import Malformed, TrackedMessage
from db.quarantine import quarantine
from db.results import Results
from db.tracking import Tracked, message_ids, track_messages
from tasks.archiving import pack
from tasks.batch import Body, Drained, count_committed
from tasks.eventgrid import malformed
from tasks.patience import patiently
from tasks.privacy.leaving_out import Erased, keys_of, leave_out_erased, record_the_rest
from tasks.privacy.recipients import Recipients
from tasks.reasons import Reason
from tasks.settling import settle
from worker.messages import Tracking, are_no_trackings, parse_trackings, split_trackings
from worker.telemetry.tracing import trace_part

_encode = msgspec.json.Encoder().encode

#: Most trackings of a long call that are worked together. A call may name a million messages: as one transaction they
#: would take longer than a statement may, or than an entry that nobody acknowledges is left alone.
CALL: Final = 5000


@dataclass(slots=True)
class Messages:
    """Send-trackings to be written, each with the body it came in; the malformed ones; bodies, packed and as read."""

    messages: list[TrackedMessage] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    packed: Packed | None = None
    read: Sequence[Body] = ()


@dataclass(frozen=True, slots=True)
class MessagePipeline:
    """What is done to send-trackings.

    ``tracked_via`` is the door, as it is stored with each message; ``recipients`` says how those are written down, and
    ``archived`` whether bodies are kept for a replay. ``counted``: see `Pipeline`.
    """

    tracked_via: str
    results: Results = field(default_factory=Results)
    recipients: Recipients = field(default_factory=Recipients)
    archived: bool = False
    counted: bool = False
    kind: str = "message"

    def parse(self, bodies: Sequence[Body]) -> Messages:
        """Read every body, its recipients hidden; what cannot be read is among the result's malformed parts."""
        bodies = [Body(self.hide(body), entry_id, received_at) for body, entry_id, received_at in bodies]
        rows = Messages(packed=pack(bodies) if self.archived else None, read=bodies)
        for body in bodies:
            for tracking in parse_trackings(body.body):
                if isinstance(tracking, Tracking):
                    rows.messages.append(self._row(tracking, body.received_at))
                    rows.bodies.append(body)
                else:
                    part = malformed(self.kind, Reason.TRACKING_INVALID, tracking.sentence, tracking.body, *body[1:])
                    rows.malformed.append(part)
        return rows

    def keys(self, rows: Messages) -> set[Key]:
        """Return what the rows would be known again by if they had been erased."""
        return {*keys_of(rows.messages, rows.malformed)}

    def hide(self, body: bytes) -> bytes:
        """Return a call as it may be kept: mailers may name people under any key."""
        return self.recipients.hide_loosely(body)

    def record(self, engine: Engine, rows: Messages) -> Drained:
        """Write the messages in one transaction, and after its commit release the events that waited for them.

        The other side of the race told in tasks/events.py. The caller acknowledges only afterwards, so whoever tracks a
        message through us has its events released before the tracking is acknowledged.
        """

        def track() -> Tracked:
            with engine.begin() as conn:
                leave_out_erased(conn, lambda: self.keys(rows))
                if rows.packed is not None:
                    keep(conn, self.kind, rows.packed)
                tracked = track_messages(conn, rows.messages)
                refused = [self._refused(rows, position) for position in tracked.refused]
                quarantine(conn, [*rows.malformed, *refused])
                return tracked

        with trace_part("record"):
            try:
                tracked = patiently(track)
            except Erased as erased:
                return record_the_rest(self, engine, rows.read, erased)
        drained = Drained(
            tracked=tracked.new,
            known=tracked.known,
            completed=tracked.completed,
            refused=len(tracked.refused),
            quarantined=dict(Counter(part.reason for part in rows.malformed)),
        )
        if self.counted:
            count_committed(drained)
        with trace_part("settle"):
            released = Drained(released=settle(engine, self.results, message_ids(rows.messages) | tracked.learned))
        if self.counted:
            count_committed(released)
        drained += released
        return drained

    def split(self, body: bytes) -> list[bytes]:
        """Return the trackings of one call, each as it stands."""
        return split_trackings(body)

    def _row(self, tracking: Tracking, received_at: datetime) -> TrackedMessage:
        return TrackedMessage(
            tracking.internet_message_id,
            _bytes(tracking.azure_message_id),
            tracking.campaign_id,
            tracking.subscriber_id,
            _bytes(tracking.smtp_server_uuid),
            tracking.sent_at or received_at,
            self.tracked_via,
            tracking.recipient_domain,
        )

    def _refused(self, rows: Messages, position: int) -> Malformed:
        """Keep a tracking that contradicts an earlier one, as it was understood."""
        message = rows.messages[position]
        body = _encode(
            Tracking(
                campaign_id=message.campaign_id,
                internet_message_id=message.internet_message_id,
                azure_message_id=_uuid(message.azure_message_id),
                subscriber_id=message.subscriber_id,
                recipient_domain=message.recipient_domain,
            )
        )
        detail = "the message is tracked already, for another campaign or subscriber"
        return malformed(self.kind, Reason.TRACKING_REFUSED, detail, body, *rows.bodies[position][1:])


def cut_call(body: bytes) -> list[bytes]:
    """Cut a long call of a mailer into calls of up to `CALL` trackings, in their order; a short one stays as it is.

    What is no JSON is a call by itself, so that it harms no neighbour.
    """
    items = [] if are_no_trackings(body) else split_trackings(body)
    if len(items) <= CALL:
        return [body]
    calls: list[bytes] = []
    held: list[bytes] = []
    for item in items:
        if not _is_json(item):
            calls.append(item)
            continue
        held.append(item)
        if len(held) == CALL:
            calls.append(_array(held))
            held.clear()
    return [*calls, _array(held)] if held else calls


def _array(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _is_json(item: bytes) -> bool:
    try:
        msgspec.json.decode(item, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes


def _uuid(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)
