"""(d) From HTTP 200 to the committed row, at 200 events a second."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench
from benchmarks.commits import mean_flush_seconds, reset_flushes
from benchmarks.drain import TABLE, check_stored
from benchmarks.drains import idle_drains, wait_until_drained
from benchmarks.load import event, event_bodies, event_id
from benchmarks.paced_load import push_paced
from benchmarks.report import Figure, latency_figures
from benchmarks.servers import connect, expect
from benchmarks.serving import push_request, serving
from stack.state import HOST
from worker.streams import EVENTS

_PER_SECOND: Final = 200
_GOALS: Final = {50: 6.0, 99: 20.0}


def measure(bench: Bench) -> list[Figure]:
    """Push single events to the receiver, with one drain process behind it."""
    rounds: list[list[float]] = []
    with (
        bench.tracked_database() as url,
        bench.servers.redis() as client,
        idle_drains(bench.servers, client, url, 1),
        serving(bench.servers, "worker.receiver", "/readyz") as port,
    ):
        for number in range(bench.rounds):
            rounds.append(_measure_round(bench, port, url, number))
            wait_until_drained(client, EVENTS)
            bench.say(f"latency, round {number + 1}: {latency_text(rounds[-1])}")
    return latency_figures("(d) from HTTP 200 to the committed row, at 200 events/s", rounds, _GOALS)
