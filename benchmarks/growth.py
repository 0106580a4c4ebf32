"""(h) The curve: what draining, tracking, sweeping and asking cost while the store grows to twenty million events.

One database grows; another stays at the first size, and each round measures both, one after the other. So each ratio is
of two measurements in the same minute, and the machine's mood cancels.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import psycopg
import redis
import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.drain import PREPARED
from benchmarks.drains import time_drain
from benchmarks.exercises import EXERCISES
from benchmarks.load import campaign_events, event_bodies, fill_stream, message_id, tracking_bodies
from benchmarks.plans import Plans, require_no_whole, table_rows
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.seeds import CAMPAIGN_MESSAGES, EVENTS_PER_MESSAGE, WAITING, grow_store, seed_parked, settle
from benchmarks.servers import Lost, connect, expect
from db.counting import count_changes
from db.engine import create_engine
from db.parking import count_expired, count_parked, sweep
from db.reporting import campaign_stats, read_only, stream_events
from worker.streams import EVENTS, MESSAGES

#: The least share of the rate at the first size that must be left at the last one.
_GOAL: Final = 0.70

_TRACKING: Final = "azure_message_tracking"
_TABLES: Final = ("azure_delivery_events", "azure_engagement_events", _TRACKING)
_COUNTS: Final = ("attribution_campaign_counts", "attribution_campaign_people", "attribution_count_changes")

#: Drained events are of the messages sent last.
_RECENT_MESSAGES: Final = 50_000
_PER_REQUEST: Final = 50
_PER_CALL: Final = 100
#: Events that wait, and how many of them are due.
_PARKED, _DUE = 10_000, 1_000
#: Where the events of the second drain of a round wait.
_MORE_EVENTS: Final = "more"
#: Events added in one transaction.
_CHUNK: Final = 200_000
#: How often what takes milliseconds is timed in a round.
_REPEATS: Final = 5

#: What is measured: its unit, and whether more is better.
_KINDS: Final = {
    "drain, after a checkpoint": ("events/s", True),
    "write-ahead log of an event, after a checkpoint": ("bytes", False),
    "drain, between checkpoints": ("events/s", True),
    "write-ahead log of an event, between checkpoints": ("bytes", False),
    "adding up what was drained": ("ms", False),
    "track": ("messages/s", True),
    "sweep, 1,000 due": ("ms", False),
    "stats, right after a drain": ("ms", False),
    "stats": ("ms", False),
    "look-up of a message": ("ms", False),
}


@dataclass
class _Store:
    """A database, how many events it has stored, and what was measured in each round, by kind."""

    url: str
    stored: int = 0
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def tracked(self) -> int:
        return self.stored // EVENTS_PER_MESSAGE

    @property
    def recent(self) -> int:
        """The first of the messages that drained events are of."""
        return max(0, self.tracked - _RECENT_MESSAGES)

    def grow(self, bench: Bench, stored: int) -> None:
        """Store so many events in all, count them, and make sure that no statement reads all of them."""
        bench.say(f"storing {stored:,} events")
        with connect(self.url) as connection:
            for first in range(self.stored, stored, _CHUNK):
                grow_store(connection, first, min(first + _CHUNK, stored))
            self.count()
            settle(connection, *_TABLES, *_COUNTS)
        self.stored = stored
        self.found = defaultdict(list)
        _check_plans(self.url)

    def count(self) -> None:
        """Have nothing left that is not counted."""
        with _engine(self.url) as engine:
            while count_changes(engine).changes:
                pass


def measure(bench: Bench) -> list[Figure]:
    """Measure the store at each size, and each time the store that stays at the first one."""
    sizes = bench.sizes
    figures: list[Figure] = []
    with (
        bench.servers.database() as small_url,
        bench.servers.database() as url,
        bench.servers.redis() as client,
    ):
        small, grown = _Store(small_url), _Store(url)
        for store in (small, grown):
            _park(store)
        small.grow(bench, sizes.stored[0])
        for stored in sizes.stored:
            grown.grow(bench, stored)
            small.found = defaultdict(list)
            for store in (small, grown):
                _fill(bench, client, store)
            for number in range(bench.rounds):
                for store in (small, grown):
                    _measure_round(bench, client, store)
                bench.say(f"growth, round {number + 1}, {stored:,} events stored: {_said(grown)}")
            last = stored == sizes.stored[-1]
            figures += _figures(grown, small, judged=last)
    return figures


def _park(store: _Store) -> None:
    with connect(store.url) as connection:
        seed_parked(connection, _PARKED - _DUE)
        seed_parked(connection, _DUE, first=WAITING)
        connection.execute(
            "UPDATE azure_engagement_events SET next_attempt_at = now() - interval '1 minute'"
            " WHERE id IN (SELECT id FROM azure_engagement_events ORDER BY id DESC LIMIT %s)",
            (_DUE,),
        )


def _fill(bench: Bench, client: redis.Redis, store: _Store) -> None:
    sizes = bench.sizes
    count, messages = sizes.growth_events, store.tracked - store.recent
    for name, start in ((EVENTS, 0), (_MORE_EVENTS, count)):
        made = campaign_events(count, tracked=messages, first=store.recent, start=start)
        fill_stream(client, _prepared(store, name), event_bodies(made, _PER_REQUEST))
    numbers = range(store.tracked, store.tracked + sizes.growth_trackings)
    bodies = tracking_bodies(numbers, _PER_CALL, campaign=1 + store.tracked // CAMPAIGN_MESSAGES)
    fill_stream(client, _prepared(store, MESSAGES), bodies)


def _prepared(store: _Store, stream: str) -> str:
    return f"{PREPARED}:{store.url.rpartition('/')[2]}:{stream}"


def _measure_round(bench: Bench, client: redis.Redis, store: _Store) -> None:
    """Measure everything once; what was drained and tracked is removed again, and the tables are vacuumed."""
    sizes, found = bench.sizes, store.found

    def drain(stream: str, prepared: str, per_entry: int) -> float:
        prepared = _prepared(store, prepared)
        return per_entry * time_drain(bench.servers, client, store.url, prepared=prepared, stream=stream, processes=1)

    def drain_events(name: str, prepared: str) -> None:
        began = _value(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")
        found[f"drain, {name}"].append(drain(EVENTS, prepared, _PER_REQUEST))
        written = _value(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'") - began
        found[f"write-ahead log of an event, {name}"].append(float(written) / sizes.growth_events)

    with (
        _engine(store.url, for_batches=True) as engine,
        _engine(store.url) as asking,
        connect(store.url) as connection,
    ):
        heads = {table: _value(connection, f"SELECT coalesce(max(id), 0) FROM {table}") for table in _TABLES}
        found["stats"].append(_milliseconds(lambda: _ask(asking), times=1))
        found["look-up of a message"].append(_milliseconds(lambda: _look_up(asking, store)))
        found["sweep, 1,000 due"].append(_milliseconds(lambda: _sweep(engine)))
        connection.execute("CHECKPOINT")
        drain_events("after a checkpoint", EVENTS)
        found["stats, right after a drain"].append(_milliseconds(lambda: _ask(asking), times=1))
        found["adding up what was drained"].append(_milliseconds(store.count, times=1))
        # The pages of the indexes are in the write-ahead log by now, and are not written to it whole again.
        drain_events("between checkpoints", _MORE_EVENTS)
        found["track"].append(drain(MESSAGES, MESSAGES, _PER_CALL))
        _remove(connection, heads, 2 * sizes.growth_events, sizes.growth_trackings)
        store.count()


def _check_plans(url: str) -> None:
    """Send every kind of statement once.

    Raises:
        Lost: one of them has read a table whole that grows.
    """
    with _engine(url, for_batches=True) as engine, connect(url) as connection:
        plans = Plans(engine)
        for exercise in EXERCISES.values():
            with engine.connect() as conn:
                exercise(conn)
                conn.rollback()
        require_no_whole(plans, table_rows(connection))


@contextmanager
def _engine(url: str, *, for_batches: bool = False) -> Iterator[sa.Engine]:
    engine = create_engine(url, for_batches=for_batches, statement_timeout=None)
    try:
        yield engine
    finally:
        engine.dispose()


def _ask(engine: sa.Engine) -> None:
    """Read what `attribution stats` prints."""
    with engine.begin() as conn:
        read_only(conn)
        campaign_stats(conn)
        count_parked(conn)
        count_expired(conn)


def _look_up(engine: sa.Engine, store: _Store) -> None:
    """Read the events of one message, as `attribution events --message` does."""
    with engine.begin() as conn:
        read_only(conn)
        if not list(stream_events(conn, message=message_id(store.tracked // 2))):
            raise Lost("No event of a message that has several was found.")


def _sweep(engine: sa.Engine) -> None:
    """Sweep everything that is due, and have it never been."""
    with engine.connect() as conn:
        swept = sweep(
            conn,
            waits=[timedelta(hours=6)],
            jitter=0.1,
            deadline=timedelta(days=7),
            limit=_DUE,
        )
        expect("events swept", swept.parked + swept.expired, _DUE)
        conn.rollback()


def _remove(connection: psycopg.Connection[Any], heads: dict[str, int], events: int, trackings: int) -> None:
    """Remove the rows behind ``heads``, which must be those that were brought, all of them attributed."""
    removed = {}
    for table, head in heads.items():
        waiting = _value(connection, f"SELECT count(*) FROM {table} WHERE id > %s AND campaign_id IS NULL", head)
        expect(f"rows of no campaign in {table}", waiting, 0)
        removed[table] = connection.execute(f"DELETE FROM {table} WHERE id > %s", (head,)).rowcount
    expect("messages tracked", removed.pop(_TRACKING), trackings)
    expect("events stored", sum(removed.values()), events)
    settle(connection, *_TABLES)


def _value(connection: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters or None).fetchone()
    return row[0] if row else None


def _milliseconds(do: Callable[[], object], times: int = _REPEATS) -> float:
    """Return the median of so many runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        taken.append((time.perf_counter() - began) * 1000)
    return median_of(taken)


def _said(store: _Store) -> str:
    return ", ".join(f"{kind} {found[-1]:,.0f} {_KINDS[kind][0]}" for kind, found in store.found.items())


def _figures(grown: _Store, small: _Store, *, judged: bool) -> list[Figure]:
    """Return a figure of each kind; its ratio is to the small store, and more is better in all of them."""
    figures = []
    for kind, (unit, more_is_better) in _KINDS.items():
        found, baseline = grown.found[kind], small.found[kind]
        ratio = median_ratio(found, baseline) if more_is_better else median_ratio(baseline, found)
        goal = ratio_at_least(_GOAL) if judged and kind in ("drain, between checkpoints", "track") else None
        figures.append(Figure(f"(h) {kind}, {grown.stored:,} stored", median_of(found), unit, ratio, goal))
    return figures
