"""(f) The drain's rate as the park grows: what waits must not slow down what comes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.drain import PREPARED, TABLE, check_stored
from benchmarks.drains import time_drain
from benchmarks.load import event_bodies, events, fill_stream
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.seeds import seed_attributed, seed_parked, settle
from benchmarks.servers import connect
from worker.streams import EVENTS

#: The least share of the fastest rate that the slowest of the series must have.
_GOAL: Final = 0.85
#: Every fifth drained event parks, so that the batch meets every index of the park.
_UNTRACKED_EVERY: Final = 5


def measure(bench: Bench) -> list[Figure]:
    """Drain the same events, by one process, into databases in which more and more is parked, each in turn."""
    sizes = bench.sizes
    rates: dict[int, list[float]] = {parked: [] for parked in sizes.parked}
    with ExitStack() as databases, bench.servers.redis() as client:
        bench.say(f"filling a stream with {sizes.events:,} events, 1 per request")
        made = events(sizes.events, tracked=sizes.tracked, untracked_every=_UNTRACKED_EVERY)
        fill_stream(client, PREPARED, event_bodies(made, 1))
        urls = {parked: databases.enter_context(bench.tracked_database()) for parked in rates}
        for parked, url in urls.items():
            bench.say(f"storing {sizes.besides_parked:,} events, {parked:,} of them parked")
            _store(bench, url, parked)
        for number in range(bench.rounds):
            for parked, url in urls.items():
                rates[parked].append(_measure_round(bench, client, url))
                bench.say(f"park, round {number + 1}, {parked:,} events parked: {rates[parked][-1]:,.0f}/s")
    return _figures(rates)


def _store(bench: Bench, url: str, parked: int) -> None:
    with connect(url) as connection:
        seed_attributed(connection, bench.sizes.besides_parked - parked, tracked=bench.sizes.tracked)
        seed_parked(connection, parked)
        settle(connection, TABLE)


def _measure_round(bench: Bench, client: redis.Redis, url: str) -> float:
    """Return events per second; what was drained is removed again, and the tables are vacuumed."""
    stored = bench.sizes.besides_parked
    with connect(url) as connection:
        connection.execute("CHECKPOINT")
    rate = time_drain(bench.servers, client, url, prepared=PREPARED, stream=EVENTS, processes=1)
    check_stored(url, bench.sizes.events, _UNTRACKED_EVERY, after=stored)
    with connect(url) as connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE id > %s", (stored,))
        settle(connection, TABLE)
    return rate


def _figures(rates: dict[int, list[float]]) -> list[Figure]:
    """Return the rate at each size, and how far the slowest falls behind the fastest."""
    base = next(iter(rates.values()))
    ratios = {parked: median_ratio(found, base) for parked, found in rates.items()}
    figures = [
        Figure(f"(f) drain, {parked:,} parked", median_of(found), "events/s", ratios[parked])
        for parked, found in rates.items()
    ]
    slowest = min(figures, key=lambda figure: figure.value)
    evenness = min(ratios.values()) / max(ratios.values())
    return [
        *figures,
        Figure(
            "(f) drain, slowest to fastest as the park grows",
            slowest.value,
            "events/s",
            evenness,
            ratio_at_least(_GOAL),
        ),
    ]
