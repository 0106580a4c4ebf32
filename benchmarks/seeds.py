"""Millions of rows that were there before: made inside PostgreSQL, which takes a tenth of sending them.

Rows are as the pipeline would have left them, in an arbitrary order of their keys, so that the indexes look as if
they had grown one event at a time. Message ``n`` is that of benchmarks/load.py.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

#: Parked events, and the messages they are of, have numbers from here on.
PARKED: Final = 1_200_000_000
#: The same for parked events whose messages a measurement will track.
WAITING: Final = 1_500_000_000

_MESSAGES: Final = """
INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id, sent_at, tracked_via)
SELECT '<' || md5(n::text) || '@mail.example.com>', 1 + n %% 50, 1 + n, '2025-01-10T10:26:32Z', 'http'
  FROM generate_series(0, %(count)s - 1) AS n
"""

_EVENTS: Final = """
INSERT INTO azure_engagement_events (
    event_key, event_id, internet_message_id, azure_message_id, event_timestamp, received_at, engagement_type,
    engagement_context, user_agent, campaign_id, subscriber_id, state, matched_by, attributed_at, next_attempt_at)
SELECT md5('stored ' || number)::uuid, md5('id ' || number),
       '<' || md5(of_message::text) || '@mail.example.com>', md5('azure ' || of_message)::uuid,
       '2025-01-10T10:26:40.123Z', '2025-01-10T10:26:42.456Z', 'click', 'https://www.example.com',
       'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0',
       {outcome}
  FROM (SELECT first + n AS number, {of_message} AS of_message
          FROM (SELECT CAST(%(first)s AS bigint) AS first) AS f, generate_series(0, %(count)s - 1) AS n) AS numbered
"""
_ATTRIBUTED: Final = "1 + of_message %% 50, 1 + of_message, 'attributed', 'internet_message_id', now(), NULL"
# Retries are due long after the measurement, and spread out.
_WAITS: Final = "NULL, NULL, 'parked', NULL, NULL, now() + interval '6 hours' * (1 + random())"


def seed_messages(connection: psycopg.Connection[Any], count: int) -> None:
    """Track messages 0 to ``count`` - 1."""
    connection.execute(_MESSAGES, {"count": count})


def seed_attributed(connection: psycopg.Connection[Any], count: int, *, tracked: int) -> None:
    """Store ``count`` attributed events of the messages below ``tracked``."""
    of_message = f"n::bigint * 7919 %% {tracked}"
    connection.execute(_EVENTS.format(outcome=_ATTRIBUTED, of_message=of_message), {"first": 0, "count": count})


def seed_parked(connection: psycopg.Connection[Any], count: int, *, first: int = PARKED, per_message: int = 1) -> None:
    """Park ``count`` events of untracked messages, numbered from ``first`` on, ``per_message`` of each."""
    of_message = f"first + n / {per_message}"
    connection.execute(_EVENTS.format(outcome=_WAITS, of_message=of_message), {"first": first, "count": count})


def settle(connection: psycopg.Connection[Any], *tables: str) -> None:
    """Bring the tables into the state in which autovacuum, which the servers here do not run, leaves them.

    ``connection`` is in autocommit mode.
    """
    connection.execute(f"VACUUM (ANALYZE, INDEX_CLEANUP ON) {', '.join(tables)}")
    connection.execute("CHECKPOINT")


#: Messages of one campaign in a store that grows, which is sent one campaign after the other; an event is one of two
#: that each message has on the average.
CAMPAIGN_MESSAGES: Final = 20_000
EVENTS_PER_MESSAGE: Final = 2

#: The instant of event ``k``: a store of twenty million holds a year.
_AT: Final = "CAST('2025-01-10T10:00:00Z' AS timestamptz) + k * interval '1.5 seconds'"
_GROW_MESSAGES: Final = f"""
INSERT INTO azure_message_tracking (
    internet_message_id, azure_message_id, campaign_id, subscriber_id, sent_at, created_at, tracked_via)
SELECT '<' || md5(n::text) || '@mail.example.com>', md5('azure ' || n)::uuid, 1 + n / {CAMPAIGN_MESSAGES},
       1 + n %% %(subscribers)s, {_AT.replace("k", str(EVENTS_PER_MESSAGE) + " * n")},
       {_AT.replace("k", str(EVENTS_PER_MESSAGE) + " * n")}, 'http'
  FROM generate_series(CAST(%(first)s AS bigint) / {EVENTS_PER_MESSAGE},
                       CAST(%(after)s AS bigint) / {EVENTS_PER_MESSAGE} - 1) AS n
"""
# Of ten events five report a delivery, three or four are opens, and the rest clicks. Acts are of messages of the last
# days, one in twenty of any message that there is. One event in a hundred has expired.
_GROW_EVENTS: Final = """
INSERT INTO {table} (
    event_key, event_id, internet_message_id, azure_message_id, event_timestamp, created_at, received_at, {columns},
    campaign_id, subscriber_id, state, matched_by, attributed_at, expired_at, expired_reason)
SELECT md5('event ' || k)::uuid, md5('id ' || k),
       '<' || md5(CASE WHEN expired THEN 'ghost ' || k ELSE m::text END) || '@mail.example.com>',
       md5(CASE WHEN expired THEN 'azure ghost ' || k ELSE 'azure ' || m END)::uuid,
       happened_at, happened_at + interval '1 second', happened_at + interval '1 second', {values},
       CASE WHEN NOT expired THEN 1 + m / {per_campaign} END, CASE WHEN NOT expired THEN 1 + m %% %(subscribers)s END,
       CASE WHEN expired THEN 'expired'::attribution_state ELSE 'attributed'::attribution_state END,
       CASE WHEN NOT expired THEN 'internet_message_id'::attribution_key END,
       CASE WHEN NOT expired THEN happened_at + interval '1 second' END,
       CASE WHEN expired THEN happened_at + interval '7 days' END, CASE WHEN expired THEN 'deadline' END
  FROM (SELECT k, {at} AS happened_at, k %% 100 IN (42, 43) AND k %% 200 < 100 AS expired,
               CASE WHEN k %% 2 = 0 THEN k / 2
                    WHEN k %% 40 = 1 THEN abs(hashint8(k)::bigint) %% (k / 2 + 1)
                    ELSE greatest(0, k / 2 - abs(hashint8(k)::bigint) %% {per_campaign}) END AS m
          FROM generate_series(CAST(%(first)s AS bigint), CAST(%(after)s AS bigint) - 1) AS k
         WHERE k %% 2 = {odd}) AS numbered
"""
_GROW_DELIVERIES: Final = _GROW_EVENTS.format(
    table="azure_delivery_events", columns="status, delivery_status_details", odd=0, at=_AT,
    values="'Delivered', 'No error.'", per_campaign=CAMPAIGN_MESSAGES,
)  # fmt: skip
_GROW_ENGAGEMENTS: Final = _GROW_EVENTS.format(
    table="azure_engagement_events", columns="engagement_type, engagement_context, user_agent", odd=1, at=_AT,
    values="CASE WHEN k %% 20 < 14 THEN 'view' ELSE 'click' END,"
    " CASE WHEN k %% 20 < 14 THEN '' ELSE 'https://www.example.com' END,"
    " 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0'",
    per_campaign=CAMPAIGN_MESSAGES,
)  # fmt: skip


def grow_store(connection: psycopg.Connection[Any], first: int, after: int, *, subscribers: int = 100_000) -> None:
    """Add the events ``first`` to ``after`` - 1 of a store that grows in order of time, and the messages they are of.

    All of it is of campaigns of `CAMPAIGN_MESSAGES` messages, sent one after the other to the same ``subscribers``.
    Both numbers are even.
    """
    for statement in (_GROW_MESSAGES, _GROW_DELIVERIES, _GROW_ENGAGEMENTS):
        connection.execute(statement, {"first": first, "after": after, "subscribers": subscribers})
