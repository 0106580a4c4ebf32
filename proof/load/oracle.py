"""Whether every event is there once and where it belongs: counted in SQL, from the events' own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg

from proof.load.traffic import CAMPAIGNS, LOTS, NEVER, PER_MESSAGE, SPACE, SUBSCRIBERS, Truth

#: For each space and table: rows, different events, and rows that are not as they must be. An event tells its number;
#: the number tells its message, and whether that is tracked for whom.
_COUNTS: Final = f"""
WITH numbered AS (
    SELECT 'delivery' AS kind, state::text, campaign_id, subscriber_id, event_id FROM azure_delivery_events
    UNION ALL
    SELECT 'engagement', state::text, campaign_id, subscriber_id, event_id FROM azure_engagement_events
), events AS (
    SELECT kind, state, campaign_id, subscriber_id, n / {SPACE} AS space, n %% {SPACE} AS n
      FROM numbered, LATERAL (SELECT CAST(CAST('x' || right(event_id, 12) AS bit(48)) AS bigint) AS n) AS number
), judged AS (
    SELECT e.*, s.space * {SPACE} + e.n / s.per_message AS message, s.per_message, s.events
      FROM events AS e
      LEFT JOIN unnest(%(spaces)s::bigint[], %(per_message)s::bigint[], %(events)s::bigint[])
             AS s (space, per_message, events) USING (space)
)
SELECT coalesce(space, -1), kind, count(*), count(DISTINCT n), count(*) FILTER (WHERE
           n >= events IS NOT FALSE
        OR kind <> CASE WHEN space = 0 AND n %% {PER_MESSAGE} = 0 THEN 'delivery' ELSE 'engagement' END
        OR CASE WHEN space = 0 AND message %% {LOTS} = {NEVER}
                THEN state = 'attributed' OR campaign_id IS NOT NULL
                ELSE (state, campaign_id, subscriber_id)
                     IS DISTINCT FROM ('attributed', 1 + message %% {CAMPAIGNS}, 1 + message %% {SUBSCRIBERS}) END)
  FROM judged GROUP BY 1, 2
"""
_QUARANTINED: Final = "SELECT count(*) FROM attribution_quarantine"
_TRACKED: Final = "SELECT count(*) FROM azure_message_tracking"


def judge(truth: Truth, connection: psycopg.Connection[Any]) -> list[str]:
    """Return a sentence for each thing that is not as the truth says; none if all is well."""
    return list(_judge(truth, connection))


def _judge(truth: Truth, connection: psycopg.Connection[Any]) -> Iterator[str]:
    spaces = [
        (0, PER_MESSAGE, truth.messages * PER_MESSAGE),
        *((p.space, p.per_message, p.events) for p in truth.parked),
    ]
    columns = dict(zip(("spaces", "per_message", "events"), map(list, zip(*spaces, strict=True)), strict=True))
    connection.execute("SET work_mem = '256MB'")
    found = {(space, kind): counts for space, kind, *counts in connection.execute(_COUNTS, columns).fetchall()}
    expected = {(space, "engagement"): events for space, _, events in spaces}
    expected[0, "delivery"] = truth.messages
    expected[0, "engagement"] -= truth.messages
    for where, events in expected.items():
        rows, different, wrong = found.pop(where, (0, 0, 0))
        if different < events:
            yield f"{events - different:,} events of {events:,} are lost ({_name(*where)})."
        if rows > different:
            yield f"{rows - different:,} events are there twice ({_name(*where)})."
        if wrong:
            yield f"{wrong:,} events are not as they must be ({_name(*where)})."
    for where, (rows, *_) in found.items():
        yield f"{rows:,} events are there that nobody sent ({_name(*where)})."
    yield from _compare("malformed events are in quarantine", connection, _QUARANTINED, truth.malformed)
    tracked = sum(message % LOTS != NEVER for message in range(truth.messages))
    tracked += sum(len(parked.messages()) for parked in truth.parked)
    yield from _compare("messages are tracked", connection, _TRACKED, tracked)


def _compare(what: str, connection: psycopg.Connection[Any], query: str, expected: int) -> Iterator[str]:
    ((found,),) = connection.execute(query).fetchall()
    if found != expected:
        yield f"{found:,} {what}, where {expected:,} should be."


def _name(space: int, kind: str) -> str:
    return f"{kind} reports of {'the flow' if space == 0 else f'parked million {space}'}"
