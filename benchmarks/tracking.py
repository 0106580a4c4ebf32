"""(c) Messages tracked per second, through the stream and through Celery, against COPY of the same rows."""

from __future__ import annotations

from typing import Any, Final

import psycopg
import redis

from benchmarks.bench import Bench
from benchmarks.commits import rate_of_commits
from benchmarks.copying import FinishedRows, take_rows
from benchmarks.drain import PREPARED
from benchmarks.drains import time_drain, wait_for_readers
from benchmarks.load import fill_queue, fill_stream, in_groups, tracking, tracking_bodies
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.servers import connect, expect, wait_until
from worker.queues import TRACKING
from worker.streams import MESSAGES

_GOAL: Final = 0.40

_TABLE: Final = "azure_message_tracking"
_COLUMNS: Final = (
    "internet_message_id", "azure_message_id", "campaign_id", "subscriber_id", "smtp_server_uuid", "sent_at",
    "tracked_via",
)  # fmt: skip

#: Trackings in one call of a mailer, which is one entry of the stream; and in one task.
_PER_CALL: Final = 100
_PER_TASK: Final = 1000


def measure(bench: Bench) -> list[Figure]:
    """Track messages by both doors and copy their rows, in turn, each time on top of all that are tracked already."""
    sizes = bench.sizes
    streamed: list[float] = []
    tasked: list[float] = []
    copied: list[float] = []
    rows: FinishedRows | None = None
    with bench.servers.redis() as client:
        bench.say(f"filling a stream with {sizes.trackings:,} send-trackings, {_PER_CALL} per call")
        fill_stream(client, PREPARED, tracking_bodies(_numbers(bench), _PER_CALL))
        for number in range(bench.rounds):
            with bench.tracked_database() as url:
                entries = time_drain(bench.servers, client, url, prepared=PREPARED, stream=MESSAGES, processes=1)
                _check(bench, url)
                streamed.append(entries * _PER_CALL)
                rows = rows or take_rows(url, _TABLE, _COLUMNS, f"id > {sizes.tracked}")
            with bench.tracked_database() as url:
                copied.append(sizes.trackings / rows.time_copy(url))
                _check(bench, url)
            with bench.tracked_database() as url:
                tasked.append(_time_tasks(bench, client, url))
                _check(bench, url)
            bench.say(
                f"tracking, round {number + 1}: stream {streamed[-1]:,.0f}/s, Celery {tasked[-1]:,.0f}/s,"
                f" COPY {copied[-1]:,.0f}/s"
            )
    goal = ratio_at_least(_GOAL)
    stream, celery = f"(c) tracking by stream, {_PER_CALL} per call", f"(c) tracking by Celery, {_PER_TASK} per task"
    return [
        Figure(stream, median_of(streamed), "messages/s", median_ratio(streamed, copied), goal),
        Figure(celery, median_of(tasked), "messages/s", median_ratio(tasked, copied), goal),
        Figure("(c) baseline: COPY", median_of(copied), "messages/s"),
    ]


def _numbers(bench: Bench) -> range:
    """Return the numbers of messages that are not tracked yet."""
    return range(bench.sizes.tracked, bench.sizes.tracked + bench.sizes.trackings)


def _time_tasks(bench: Bench, client: redis.Redis, url: str) -> float:
    """Have a Celery worker of ours, without its drain processes, track the messages; return messages per second."""
    command = ("celery", "-A", "worker.app", "worker", "-Q", TRACKING, "--concurrency=1")
    settings = {"ATTRIBUTION_DRAIN_PROCESSES": "0"}
    with bench.servers.process("tracking-worker", *command, database_url=url, settings=settings):
        wait_for_readers(client, 1)
        calls = ([[tracking(number) for number in group]] for group in in_groups(_numbers(bench), _PER_TASK))
        with connect(url) as connection:
            connection.execute("CHECKPOINT")
            fill_queue(client, bench.servers.redis_url, TRACKING, "track_messages", calls)

            def all_are_there() -> bool:
                # Counting costs PostgreSQL time, so it is asked only when Celery has nothing left to acknowledge.
                return not client.llen(TRACKING) and not client.hlen("unacked") and _count(connection) == _total(bench)

            wait_until(all_are_there, "for Celery to have tracked the messages", seconds=120)
            return rate_of_commits(connection, _TABLE, f"id > {bench.sizes.tracked}")


def _total(bench: Bench) -> int:
    return bench.sizes.tracked + bench.sizes.trackings


def _count(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()
    return row[0] if row else 0


def _check(bench: Bench, url: str) -> None:
    with connect(url) as connection:
        expect(f"rows in {_TABLE}", _count(connection), _total(bench))
        quarantined = connection.execute("SELECT count(*) FROM attribution_quarantine").fetchone()
        expect("bodies in the quarantine", quarantined, (0,))
