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
