"""(d) From HTTP 200 to the committed row, at 200 events a second."""

from __future__ import annotations

from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.commits import commit_times, mean_flush_seconds, reset_flushes
from benchmarks.drain import TABLE, check_stored
from benchmarks.drains import idle_drains, wait_until_drained
from benchmarks.load import event_bodies, event_id, events
from benchmarks.paced_load import push_paced
from benchmarks.report import Figure, latency_figures, latency_text
from benchmarks.servers import connect, expect
from benchmarks.serving import push_request, serving
from stack.state import HOST
from worker.streams import EVENTS

_PER_SECOND: Final = 200
#: Percentiles, and the milliseconds that each is to stay below.
_GOALS: Final = {50: 6.0, 99: 20.0}


def measure(bench: Bench) -> list[Figure]:
    """Push events one by one to the receiver, with one drain process behind it."""
    with (
        bench.tracked_database() as url,
        bench.servers.redis() as client,
        idle_drains(bench.servers, client, url, 1),
        serving(bench.servers, "worker.receiver", "/readyz") as port,
    ):
        rounds: list[list[float]] = []
        for number in range(bench.rounds):
            latencies, flush = _latencies(bench, client, url, port, seed=number)
            rounds.append(latencies)
            said = f"latency, round {number + 1}: {latency_text(latencies)}"
            bench.say(f"{said}, of which {flush * 1000:.2f} ms for the disk to take the commit")
    return latency_figures(f"(d) HTTP 200 to committed row, {_PER_SECOND} events/s", rounds, _GOALS)


def _latencies(bench: Bench, client: redis.Redis, url: str, port: int, *, seed: int) -> tuple[list[float], float]:
    """Return the seconds between the answer to each event and its commit, without those of the time of warming up.

    The answer's time is when its first byte reached the client. To each commit's time is added what it took on
    average to flush a commit to the disk, which the commit's own time does not contain, and which is returned too.
    """
    sizes = bench.sizes
    warming = int(_PER_SECOND * sizes.warm_up_seconds)
    count = warming + int(_PER_SECOND * sizes.latency_seconds)
    requests = [push_request("/eventgrid", body) for body in event_bodies(events(count, tracked=sizes.tracked), 1)]
    with connect(url) as connection:
        connection.execute(f"TRUNCATE {TABLE}")
        connection.execute("CHECKPOINT")
        reset_flushes(connection)
        answered_at = push_paced(HOST, port, requests, per_second=_PER_SECOND, seed=seed)
        expect("requests not answered 200", answered_at.count(0), 0)
        wait_until_drained(client, EVENTS)
        check_stored(url, count, None)
        committed_at = dict(commit_times(connection, TABLE, "event_id"))
        flush = mean_flush_seconds(connection)
    return [committed_at[event_id(number)] + flush - answered_at[number] for number in range(warming, count)], flush
