"""(b) Events per second through the drain, against COPY of the same finished rows, and against one Celery task per event."""

from __future__ import annotations

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
#: How many times one task per event the drain must do, with one process each.
_TASKS_GOAL: Final = 100

PREPARED: Final = "bench:prepared"
TABLE: Final = "azure_engagement_events"

#: What the drain writes of an event. The rest are defaults, for COPY as for the drain.
COLUMNS: Final = (
    "event_key", "event_id", "internet_message_id", "azure_message_id", "event_timestamp", "received_at",
    "header_campaign", "header_subscriber", "engagement_type", "engagement_context", "user_agent",
    "campaign_id", "subscriber_id", "state", "matched_by", "attributed_at", "next_attempt_at",
)  # fmt: skip


@dataclass
class _Rates:
    """Events per second of each round, and of what was measured next to it."""

    drained: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)


def measure(bench: Bench) -> list[Figure]:
    """Measure every shape of load. Each round drains, copies and, for the plainest shape, works tasks, in turn."""
    sizes = bench.sizes
    figures: list[Figure] = []
    versus_tasks: list[Figure] = []
    with bench.tracked_database() as url, bench.servers.redis() as client:
        for untracked_every in sizes.untracked_every:
            mix = _mix(untracked_every)
            copied: list[float] = []
            for per_request in sizes.per_request:
                made = events(sizes.events, tracked=sizes.tracked, untracked_every=untracked_every)
                bench.say(f"filling a stream with {sizes.events:,} events, {per_request} per request, {mix}")
                fill_stream(client, PREPARED, event_bodies(made, per_request))
                for processes in sizes.processes:
                    shape = f"{processes} process{'es' * (processes > 1)}, {_per_request(per_request)}, {mix}"
                    with_tasks = not versus_tasks
                    rates = _rounds(bench, client, url, processes, per_request, untracked_every, shape, with_tasks)
                    copied += rates.copied
                    figures.append(
                        Figure(
                            f"(b) drain, {shape}",
                            median_of(rates.drained),
                            "events/s",
                            median_ratio(rates.drained, rates.copied),
                            ratio_at_least(_GOALS[processes]),
                        )
                    )
                    if with_tasks:
                        versus_tasks = _versus_tasks(rates, shape)
            figures.append(Figure(f"(b) COPY of the finished rows, {mix}", median_of(copied), "rows/s"))
    return figures + versus_tasks


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


def _rounds(
    bench: Bench,
    client: redis.Redis,
    url: str,
    processes: int,
    per_request: int,
    untracked_every: int | None,
    shape: str,
    with_tasks: bool,
) -> _Rates:
    sizes = bench.sizes
    rates = _Rates()
    rows: FinishedRows | None = None
    for number in range(bench.rounds):
        _empty(url)
        rate = time_drain(bench.servers, client, url, prepared=PREPARED, stream=EVENTS, processes=processes)
        check_stored(url, sizes.events, untracked_every)
        rates.drained.append(rate * per_request)
        rows = rows or take_rows(url, TABLE, COLUMNS)
        _empty(url)
        rates.copied.append(sizes.events / rows.time_copy(url))
        check_stored(url, sizes.events, untracked_every)
        said = f"round {number + 1}, drain, {shape}: {rates.drained[-1]:,.0f}/s, COPY {rates.copied[-1]:,.0f}/s"
        if with_tasks:
            _empty(url)
            made = events(sizes.tasks, tracked=sizes.tracked)
            rates.tasks.append(time_tasks(bench.servers, client, url, made))
            check_stored(url, sizes.tasks, None)
            said += f", one task per event {rates.tasks[-1]:,.0f}/s"
        bench.say(said)
    _empty(url)
    return rates


def _empty(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"TRUNCATE {TABLE}, azure_delivery_events, attribution_quarantine")
        connection.execute("CHECKPOINT")


def _versus_tasks(rates: _Rates, shape: str) -> list[Figure]:
    return [
        Figure("(b) one Celery task per event, 1 process", median_of(rates.tasks), "events/s"),
        Figure(
            f"(b) drain against one Celery task per event, {shape}",
            median_of(rates.drained),
            "events/s",
            median_ratio(rates.drained, rates.tasks),
            ratio_at_least(_TASKS_GOAL),
        ),
    ]


def _mix(untracked_every: int | None) -> str:
    return f"{100 // untracked_every} % parking" if untracked_every else "all matching"


def _per_request(number: int) -> str:
    return "1 event per request" if number == 1 else f"{number} events per request"
