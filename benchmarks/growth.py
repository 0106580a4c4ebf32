"""(f) The drain's rate as the park grows, and as the store grows: it must not fall."""

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

#: The least share of the fastest rate that the slowest of a series must have.
_GOAL: Final = 0.85
#: Every fifth drained event parks, so that the batch meets every index of the park.
_UNTRACKED_EVERY: Final = 5

#: How many events are stored, and how many of them are parked.
_Stock = tuple[int, int]


def measure(bench: Bench) -> list[Figure]:
    """Drain the same events, by one process, into databases that hold more and more, each in turn."""
    sizes = bench.sizes
    smallest = sizes.stored[0]
    parked_series: list[_Stock] = [(smallest, parked) for parked in sizes.parked]
    stored_series: list[_Stock] = [(stored, 0) for stored in sizes.stored]
    stocks = dict.fromkeys(parked_series + stored_series)
    rates: dict[_Stock, list[float]] = {stock: [] for stock in stocks}
    with ExitStack() as databases, bench.servers.redis() as client:
        bench.say(f"filling a stream with {sizes.events:,} events, 1 per request")
        made = events(sizes.events, tracked=sizes.tracked, untracked_every=_UNTRACKED_EVERY)
        fill_stream(client, PREPARED, event_bodies(made, 1))
        urls = {stock: databases.enter_context(bench.tracked_database()) for stock in stocks}
        for stock, url in urls.items():
            bench.say(f"storing {stock[0]:,} events, {stock[1]:,} of them parked")
            _store(bench, url, *stock)
        for number in range(bench.rounds):
            for stock, url in urls.items():
                rates[stock].append(_measure_round(bench, client, url, stock[0]))
                bench.say(
                    f"growth, round {number + 1}, {stock[0]:,} events stored, {stock[1]:,} of them parked:"
                    f" {rates[stock][-1]:,.0f}/s"
                )
    by_parked = {f"{parked:,} parked": rates[stored, parked] for stored, parked in parked_series}
    by_stored = {f"{stored:,} stored": rates[stored, parked] for stored, parked in stored_series}
    return _series("the park grows", by_parked) + _series("the store grows", by_stored)


def _store(bench: Bench, url: str, stored: int, parked: int) -> None:
    with connect(url) as connection:
        seed_attributed(connection, stored - parked, tracked=bench.sizes.tracked)
        seed_parked(connection, parked)
        settle(connection, TABLE)


def _measure_round(bench: Bench, client: redis.Redis, url: str, stored: int) -> float:
    """Return events per second; what was drained is removed again, and the tables are vacuumed."""
    with connect(url) as connection:
        connection.execute("CHECKPOINT")
    rate = time_drain(bench.servers, client, url, prepared=PREPARED, stream=EVENTS, processes=1)
    check_stored(url, bench.sizes.events, _UNTRACKED_EVERY, after=stored)
    with connect(url) as connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE id > %s", (stored,))
        settle(connection, TABLE)
    return rate


def _series(name: str, rates: dict[str, list[float]]) -> list[Figure]:
    """Return the rate at each size, and how far the slowest falls behind the fastest."""
    base = next(iter(rates.values()))
    ratios = {size: median_ratio(found, base) for size, found in rates.items()}
    figures = [
        Figure(f"(f) drain, {size}", median_of(found), "events/s", ratios[size]) for size, found in rates.items()
    ]
    slowest = min(figures, key=lambda figure: figure.value)
    evenness = min(ratios.values()) / max(ratios.values())
    return [
        *figures,
        Figure(f"(f) drain, slowest to fastest as {name}", slowest.value, "events/s", evenness, ratio_at_least(_GOAL)),
    ]
