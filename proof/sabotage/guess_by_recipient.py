"""When in doubt, credit the newest campaign that was sent to this reader: what the replaced system did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from proof.patching import patch
from tasks import eventgrid, events
from tasks.privacy.recipients import Recipients

SENTENCE = "an event of an unknown message is credited to the newest campaign sent to its recipient, and not parked"
SHOWS_AS = "wrong"

#: The newest message to each event's recipient: to the subscriber of that address or, where none is known, to somebody
#: of that domain.
_GUESS: Final = """
UPDATE {table} AS e
   SET state = 'attributed', campaign_id = g.campaign_id, subscriber_id = g.subscriber_id,
       matched_by = 'internet_message_id', attributed_at = now(), next_attempt_at = NULL
  FROM unnest(CAST(:keys AS uuid[]), CAST(:recipients AS text[])) AS u (event_key, recipient)
 CROSS JOIN LATERAL (
       SELECT t.campaign_id, t.subscriber_id
         FROM azure_message_tracking AS t
         {subscribers}
        ORDER BY t.sent_at DESC
        LIMIT 1) AS g
 WHERE e.event_key = u.event_key AND e.state = 'parked'
RETURNING e.id
"""
_SUBSCRIBERS: Final = """
         LEFT JOIN subscribers AS s ON s.id = t.subscriber_id
        WHERE s.email = u.recipient OR t.recipient_domain = split_part(u.recipient, '@', 2)
"""
_NO_SUBSCRIBERS: Final = """
        WHERE t.recipient_domain = split_part(u.recipient, '@', 2)
"""

#: Of each event that was read and not recorded yet, the recipient: the system itself forgets who it was.
_recipients: dict[bytes, str] = {}


def apply() -> None:
    """Keep each event's recipient beside it, and guess before a batch commits."""
    patch(Recipients, "hide", lambda _hide: lambda _self, body: body)
    patch(eventgrid, "_shared", _remembering_recipients)
    patch(events, "record_events", _guessing)


def _remembering_recipients(shared: Callable[..., Any]) -> Callable[..., Any]:
    def read(event: Any, data: Any, *more: Any) -> Any:
        fields = shared(event, data, *more)
        if data.recipient:
            _recipients[fields[0]] = data.recipient
        return fields

    return read


def _guessing(record_events: Callable[..., Any]) -> Callable[..., Any]:
    def record(conn: Connection, deliveries: Sequence[Any], engagements: Sequence[Any], **more: Any) -> Any:
        recorded = record_events(conn, deliveries, engagements, **more)
        if recorded.parked:
            results = more["results"]
            listmonk = results.listmonk(conn).present
            delivered = _guess(conn, "azure_delivery_events", deliveries, listmonk=listmonk)
            engaged = _guess(conn, "azure_engagement_events", engagements, listmonk=listmonk)
            results.write(conn, deliveries=delivered, engagements=engaged)
            recorded.parked -= len(delivered) + len(engaged)
            recorded.engagements += engaged
        return recorded

    return record


def _guess(conn: Connection, table: str, rows: Sequence[Any], *, listmonk: bool) -> list[int]:
    named = {row.event_key: _recipients[row.event_key] for row in rows if row.event_key in _recipients}
    query = _GUESS.format(table=table, subscribers=_SUBSCRIBERS if listmonk else _NO_SUBSCRIBERS)
    found = conn.execute(text(query), {"keys": [key.hex() for key in named], "recipients": list(named.values())})
    return list(found.scalars())
