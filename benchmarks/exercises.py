"""Every kind of statement that the system sends, once, to a store that has grown; each in a transaction to be undone.

What they touch is scattered over the whole of it. benchmarks/plans.py tells what the server did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from benchmarks.load import UNTRACKED, message_id
from db import archive, outbox, parking, quarantine, rewrites
from db.adoption import adopt_replaced
from db.bounces import BounceRules
from db.events import record_events
from db.explaining import Explainer
from db.models import DeliveryEvent, EngagementEvent, MessageIds, State, TrackedMessage
from db.reporting import campaign_stats, list_disagreements, stream_events
from db.results import Results
from db.suspicion import Spans
from db.tracking import adopt_foreign, find_foreign, respell_foreign, track_messages
from worker.message_id import normalise_message_id

Exercise = Callable[[Connection], object]

#: The messages used are these and those that lie as far from each other.
_FIRST, _STRIDE = 3, 97
_NOW: Final = datetime.now(UTC)
_FAR: Final = timedelta(days=3650)
_FIRST_WAIT: Final = timedelta(seconds=5)
_RESULTS: Final = Results(webhook=True, bounces=BounceRules(frozenset()))


def _messages(count: int) -> list[int]:
    return [_FIRST + number * _STRIDE for number in range(count)]


def _azure_id(of_message: int) -> UUID:
    return UUID(md5(f"azure {of_message}".encode(), usedforsecurity=False).hexdigest())


def _ids(messages: Sequence[int]) -> MessageIds:
    return MessageIds(frozenset(map(message_id, messages)), frozenset(map(_azure_id, messages)))


def _act(of_message: int, engagement_type: str = "view") -> EngagementEvent:
    name = f"exercise {of_message} {engagement_type}"
    return EngagementEvent(
        event_key=md5(name.encode(), usedforsecurity=False).digest(),
        event_id=name,
        internet_message_id=message_id(of_message),
        azure_message_id=_azure_id(of_message).bytes,
        event_timestamp=_NOW,
        received_at=_NOW,
        header_campaign=None,
        header_subscriber=None,
        engagement_type=engagement_type,
        engagement_context="https://www.example.com" if engagement_type == "click" else None,
        user_agent=None,
        uncounted=None,
        recipient=None,
        link_campaign=None,
        link_subscriber=None,
    )


def _report(of_message: int) -> DeliveryEvent:
    return DeliveryEvent(*_act(of_message, "report")[:8], "Delivered", None, None, None, "example.net", None)


def _record(conn: Connection, messages: Sequence[int]) -> None:
    acts = [_act(number, kind) for number in messages for kind in ("view", "click")]
    reports = [_report(number) for number in messages]
    record_events(conn, reports, acts, first_wait=_FIRST_WAIT, jitter=0.1, results=_RESULTS)


def _record_large(conn: Connection) -> None:
    """Record a batch that is copied, a part of which parks, and record it again: all of it is a duplicate then."""
    messages = _messages(300) + [UNTRACKED + number for number in range(50)]
    for _ in range(2):
        _record(conn, messages)


def _record_small(conn: Connection) -> None:
    for _ in range(2):
        _record(conn, [*_messages(10), UNTRACKED])


def _record_headers(conn: Connection) -> None:
    acts = [_act(UNTRACKED + number)._replace(header_campaign="1", header_subscriber="2") for number in range(5)]
    record_events(conn, [], acts, first_wait=_FIRST_WAIT, jitter=0.1, results=_RESULTS)


def _track(conn: Connection) -> None:
    """Track new messages, known ones, ones that lack an id, and ones that are refused."""
    new = [UNTRACKED + number for number in range(200)]
    known = [TrackedMessage(message_id(n), _azure_id(n).bytes, 1, None, None, _NOW, "http") for n in _messages(300)]
    once = [TrackedMessage(message_id(number), None, 1, 1, None, _NOW, "http") for number in new]
    both = [message._replace(azure_message_id=_azure_id(n).bytes) for message, n in zip(once, new, strict=True)]
    for messages in (once + known, both):
        track_messages(conn, messages)


def _release(conn: Connection) -> None:
    """Release what waits for messages that are tracked late, among many for which nothing waits."""
    late = [UNTRACKED + number for number in range(100)]
    _record(conn, late)
    track_messages(conn, [TrackedMessage(message_id(n), None, 1, 1, None, _NOW, "http") for n in late])
    parking.release(conn, _ids(late + _messages(500)), _RESULTS)


def _sweep(conn: Connection) -> None:
    _record(conn, [UNTRACKED + number for number in range(100)])
    for table in parking.EVENT_TABLES:
        conn.execute(
            text(f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked' AND created_at >= now()"),
        )
    parking.put_off(conn, _FIRST_WAIT)
    parking.sweep(conn, waits=[_FIRST_WAIT], jitter=0.1, deadline=_FAR, limit=500, results=_RESULTS)


def _look_into_the_park(conn: Connection) -> None:
    parking.count_parked(conn)
    parking.count_expired(conn)
    for table in parking.EVENT_TABLES:
        for state in (State.PARKED, State.EXPIRED):
            parking.list_waiting(conn, table, state=state, limit=50)


def _adopt_foreign(conn: Connection) -> None:
    conn.execute(
        text("INSERT INTO azure_message_tracking (internet_message_id, campaign_id) VALUES ('foreign@EXAMPLE.com', 1)")
    )
    respell_foreign(conn, normalise_message_id, limit=100)
    foreign = find_foreign(conn, limit=100)
    parking.release(conn, foreign.ids, _RESULTS)
    adopt_foreign(conn, foreign.rows)


def _adopt_replaced(conn: Connection) -> None:
    conn.execute(
        text(
            "INSERT INTO azure_engagement_events (azure_message_id, engagement_type, event_timestamp, campaign_id,"
            " state) VALUES (:id, 'view', :at, 1, 'attributed')"
        ),
        {"id": _azure_id(_FIRST), "at": _NOW},
    )
    adopt_replaced(conn, [_report(number) for number in _messages(100)], [_act(number) for number in _messages(100)])


def _native(conn: Connection) -> None:
    recorded = record_events(
        conn, [], [_act(n, "view") for n in _messages(100)], first_wait=_FIRST_WAIT, jitter=0, results=_RESULTS
    )
    _RESULTS.absorb_native(conn, recorded.engagements)
    _RESULTS.watch_native(conn)


def _rewrites(conn: Connection) -> None:
    rewrites.take_turns(conn)
    rewrites.withdraw(conn, Spans())
    _record(conn, [UNTRACKED + number for number in range(20)])
    rewrites.find_suspicions(conn, replace(Spans(), patience=timedelta(0)), limit=100)


def _send_webhooks(conn: Connection) -> None:
    _record(conn, _messages(100))
    if webhook := outbox.take(conn, batch=100, lease=_FIRST_WAIT):
        outbox.note_delivered(conn, webhook)


def _archive(conn: Connection) -> None:
    archive.keep(conn, "event", archive.Packed(_NOW, _NOW, 1, 2, b"{}"))
    window = archive.Window(_NOW - timedelta(minutes=1), _NOW + timedelta(minutes=1))
    rows = archive.list_archived(conn, "event", window, after=archive.BEGINNING, limit=100)
    archive.read_contents(conn, [row.id for row in rows])
    archive.count_archived(conn, window)
    archive.purge(conn, _NOW - _FAR, limit=200)


def _explain(conn: Connection) -> None:
    explainer = Explainer(conn)
    explainer.find_events(md5(b"id 4711", usedforsecurity=False).hexdigest())
    explainer.find_message(message_id(_FIRST), limit=20)
    explainer.find_subscriber(7, limit=20)


def _list_events(conn: Connection) -> None:
    for given in ({"message": message_id(_FIRST)}, {"message": _azure_id(_FIRST)}, {"subscriber": 7}):
        list(stream_events(conn, **given))


def _list_recent_events(conn: Connection) -> None:
    list(stream_events(conn, since=_NOW - timedelta(minutes=1)))


#: By what they are of.
EXERCISES: Final[Mapping[str, Exercise]] = {
    "record a large batch": _record_large,
    "record a small batch": _record_small,
    "record events with headers": _record_headers,
    "track": _track,
    "release": _release,
    "sweep": _sweep,
    "look into the park": _look_into_the_park,
    "adopt foreign rows": _adopt_foreign,
    "adopt rows of the replaced system": _adopt_replaced,
    "native rows": _native,
    "rewrites": _rewrites,
    "send webhooks": _send_webhooks,
    "archive": _archive,
    "list the quarantine": lambda conn: quarantine.list_quarantine(conn, reason=None, limit=50),
    "stats": campaign_stats,
    "stats of a campaign": lambda conn: campaign_stats(conn, campaigns=[1]),
    "stats since a time": lambda conn: campaign_stats(conn, since=_NOW - timedelta(minutes=1)),
    "why": _explain,
    "events": _list_events,
    "events since a time": _list_recent_events,
    "disagreements": lambda conn: list_disagreements(conn, limit=10),
}
