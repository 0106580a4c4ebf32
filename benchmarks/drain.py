"""(b) Events per second through the drain, against COPY of the finished rows, and against one Celery task per event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.copying import FinishedRows, take_rows
from benchmarks.drains import time_drain
from benchmarks.load import event_bodies, events, fill_stream
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.servers import connect, expect
from benchmarks.task_per_event import time_tasks
from worker.streams import EVENTS

#: The least share of COPY's rate, by drain processes.
_GOALS: Final = {1: 0.40, 2: 0.60}
#: How many times the rate of one task per event the drain must reach, with one process each.
_TASKS_GOAL: Final = 100

#: Where a stream waits until it is drained.
PREPARED: Final = "bench:prepared"
#: Where its events go.
TABLE: Final = "azure_engagement_events"

#: What the drain writes of an event. The rest are defaults, for COPY as for the drain.
_COLUMNS: Final = (
    "event_key", "event_id", "internet_message_id", "azure_message_id", "event_timestamp", "received_at",
    "header_campaign", "header_subscriber", "engagement_type", "engagement_context", "user_agent",
    "campaign_id", "subscriber_id", "state", "matched_by", "attributed_at", "next_attempt_at",
)  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    """What is drained by how many; every so-manieth event is of an untracked message, if any is."""

    processes: int
    per_request: int
    untracked_every: int | None

    @property
    def mix(self) -> str:
        return f"{100 // self.untracked_every} % parking" if self.untracked_every else "all matching"

    def __str__(self) -> str:
        processes = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return f"{processes}, {self.per_request} per request, {self.mix}"


@dataclass
class _Rates:
    """Events per second in each round: drained, and copied and worked by tasks right after that."""

    drained: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)


def measure(bench: Bench) -> list[Figure]:
    """Measure every shape of load; in each round of it drain, copy and, for the first shape, work tasks, in turn."""
    measured: dict[_Shape, _Rates] = {}
    filled: _Shape | None = None
    with bench.tracked_database() as url, bench.servers.redis() as client:
        for shape in _shapes(bench):
            if filled is None or (filled.per_request, filled.mix) != (shape.per_request, shape.mix):
                _fill(bench, client, shape)
                filled = shape
            measured[shape] = _measure(bench, client, url, shape, with_tasks=not measured)
    return list(_figures(measured))


def check_stored(database_url: str, count: int, untracked_every: int | None, *, after: int = 0) -> None:
    """Make sure that behind the row ``after`` there is every one of ``count`` events, in the state it must be in.

    Raises:
        Lost: one is missing or is elsewhere.
    """
    parked = -(-count // untracked_every) if untracked_every else 0
    expected = {"attributed": count - parked, "parked": parked}
    with connect(database_url) as connection:
        found = connection.execute(f"SELECT state, count(*) FROM {TABLE} WHERE id > %s GROUP BY state", (after,))
        states = {"attributed": 0, "parked": 0} | dict(found.fetchall())
        expect(f"events in {TABLE}", states, expected)
        quarantined = connection.execute("SELECT count(*) FROM attribution_quarantine").fetchone()
        expect("bodies in the quarantine", quarantined, (0,))


def _shapes(bench: Bench) -> Iterator[_Shape]:
    for untracked_every in bench.sizes.untracked_every:
        for per_request in bench.sizes.per_request:
            for processes in bench.sizes.processes:
                yield _Shape(processes, per_request, untracked_every)


def _fill(bench: Bench, client: redis.Redis, shape: _Shape) -> None:
    sizes = bench.sizes
    bench.say(f"filling a stream with {sizes.events:,} events, {shape.per_request} per request, {shape.mix}")
    made = events(sizes.events, tracked=sizes.tracked, untracked_every=shape.untracked_every)
    fill_stream(client, PREPARED, event_bodies(made, shape.per_request))


def _measure(bench: Bench, client: redis.Redis, url: str, shape: _Shape, *, with_tasks: bool) -> _Rates:
    sizes, servers = bench.sizes, bench.servers
    rates = _Rates()
    rows: FinishedRows | None = None
    for number in range(bench.rounds):
        _empty(url)
        entries = time_drain(servers, client, url, prepared=PREPARED, stream=EVENTS, processes=shape.processes)
        check_stored(url, sizes.events, shape.untracked_every)
        rates.drained.append(entries * shape.per_request)
        rows = rows or take_rows(url, TABLE, _COLUMNS)
        _empty(url)
        rates.copied.append(sizes.events / rows.time_copy(url))
        check_stored(url, sizes.events, shape.untracked_every)
        said = f"drain, {shape}, round {number + 1}: {rates.drained[-1]:,.0f}/s, COPY {rates.copied[-1]:,.0f}/s"
        if with_tasks:
            _empty(url)
            rates.tasks.append(time_tasks(servers, client, url, events(sizes.tasks, tracked=sizes.tracked)))
            check_stored(url, sizes.tasks, None)
            said += f", one task per event {rates.tasks[-1]:,.0f}/s"
        bench.say(said)
    _empty(url)
    return rates


def _empty(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"TRUNCATE {TABLE}, azure_delivery_events, attribution_quarantine")
        connection.execute("CHECKPOINT")


def _figures(measured: dict[_Shape, _Rates]) -> Iterator[Figure]:
    for shape, rates in measured.items():
        drained, goal = median_of(rates.drained), ratio_at_least(_GOALS[shape.processes])
        yield Figure(f"(b) drain, {shape}", drained, "events/s", median_ratio(rates.drained, rates.copied), goal)
    for mix in dict.fromkeys(shape.mix for shape in measured):
        copied = [rate for shape, rates in measured.items() if shape.mix == mix for rate in rates.copied]
        yield Figure(f"(b) baseline: COPY, {mix}", median_of(copied), "events/s")
    rates = next(iter(measured.values()))
    yield Figure("(b) baseline: one Celery task per event", median_of(rates.tasks), "events/s")
    yield Figure(
        "(b) drain, against one task per event",
        median_of(rates.drained),
        "events/s",
        median_ratio(rates.drained, rates.tasks),
        ratio_at_least(_TASKS_GOAL),
    )
