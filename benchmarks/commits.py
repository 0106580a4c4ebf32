"""When rows were committed, as PostgreSQL remembers it (`track_commit_timestamp`).

The clock is the machine's, which the clients of a benchmark read as well. The timestamp is taken when the commit
begins; the row is safe and visible when the commit record has been flushed to the disk. `mean_flush_seconds` tells
how long that took, to be added where a latency ends with a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.servers import Lost


def rate_of_commits(connection: psycopg.Connection[Any], table: str, where: str = "true") -> float:
    """Return the rows committed per second, from the first commit to the last, not counting what the first one held.

    Raises:
        Lost: there were fewer than two commits.
    """
    row = connection.execute(
        f"""
        SELECT sum(rows) - (array_agg(rows ORDER BY at))[1], extract(epoch FROM max(at) - min(at))
          FROM (SELECT pg_xact_commit_timestamp(xmin) AS at, count(*) AS rows
                  FROM {table} WHERE {where} GROUP BY 1) AS commits
        """
    ).fetchone()
    if row is None or not row[1]:
        raise Lost(f"{table}: there were no two commits to take a rate from.")
    return float(row[0]) / float(row[1])


def commit_times(
    connection: psycopg.Connection[Any], table: str, key: str, chosen: Sequence[str] | None = None
) -> list[tuple[str, float]]:
    """Return the ``key`` of each row, or of those ``chosen``, and when the row as it is now was committed.

    Times are in seconds since 1970.
    """
    rows = connection.execute(
        f"""
        SELECT {key}, extract(epoch FROM pg_xact_commit_timestamp(xmin))
          FROM {table} WHERE CAST(%(chosen)s AS text[]) IS NULL OR {key} = ANY(%(chosen)s)
        """,
        {"chosen": None if chosen is None else list(chosen)},
    )
    return [(of_row, float(committed_at)) for of_row, committed_at in rows]


def mean_flush_seconds(connection: psycopg.Connection[Any]) -> float:
    """Return how long clients have waited, on average, for the disk to take their commits since `reset_flushes`."""
    row = connection.execute(
        """
        SELECT sum(fsync_time + write_time) / nullif(sum(fsyncs), 0) / 1000
          FROM pg_stat_io WHERE object = 'wal' AND backend_type = 'client backend'
        """
    ).fetchone()
    return float(row[0]) if row and row[0] else 0.0


def reset_flushes(connection: psycopg.Connection[Any]) -> None:
    """Begin a new average."""
    connection.execute("SELECT pg_stat_reset_shared('io')")
