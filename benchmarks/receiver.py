"""(a) Requests per second through the receiver, against handlers that do nothing on the same server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench
from benchmarks.http_load import run_load
from benchmarks.load import event_bodies, events
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.servers import expect
from benchmarks.serving import push_request, serving
from stack.state import HOST
from worker.streams import EVENTS

_GOAL: Final = 0.65
_CONNECTIONS: Final = 64
#: How many different events are sent, over and over.
_EVENTS: Final = 1000


@dataclass
class _Requests:
    """Requests without end, and how many of them were taken to be sent."""

    made: list[bytes]
    taken: int = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 1
            yield self.made[self.taken % len(self.made)]


def measure(bench: Bench) -> list[Figure]:
    """Load the receiver and, next to it, both handlers, in turn, with the same requests."""
    bodies = list(event_bodies(events(_EVENTS, tracked=_EVENTS), 1))
    received: list[float] = []
    handled: list[float] = []
    bare: list[float] = []
    with (
        bench.servers.redis() as client,
        serving(bench.servers, "worker.receiver", "/readyz") as receiver_port,
        serving(bench.servers, "benchmarks.noop", "/readyz") as noop_port,
    ):
        for number in range(bench.rounds):
            handled.append(_rate(bench, noop_port, "/handler", bodies)[0])
            rate, sent = _rate(bench, receiver_port, "/eventgrid", bodies)
            received.append(rate)
            expect("entries on the stream", client.xlen(EVENTS), sent)
            client.delete(EVENTS)
            bare.append(_rate(bench, noop_port, "/bare", bodies)[0])
            bench.say(
                f"receiver, round {number + 1}: {received[-1]:,.0f}/s, no-op handler {handled[-1]:,.0f}/s,"
                f" bare no-op endpoint {bare[-1]:,.0f}/s"
            )
    of_handler, of_bare = median_ratio(received, handled), median_ratio(received, bare)
    load = f"900-byte bodies, {_CONNECTIONS} connections"
    return [
        Figure(f"(a) receiver, {load}", median_of(received), "requests/s", of_handler, ratio_at_least(_GOAL)),
        Figure("(a) baseline: no-op Starlette handler", median_of(handled), "requests/s"),
        Figure("(a) receiver, against a bare no-op endpoint", median_of(received), "requests/s", of_bare),
        Figure("(a) baseline: bare no-op endpoint", median_of(bare), "requests/s"),
    ]


def _rate(bench: Bench, port: int, path: str, bodies: list[bytes]) -> tuple[float, int]:
    """Return the requests answered per second, and how many were sent in all."""
    requests = _Requests([push_request(path, body) for body in bodies])
    load = run_load(HOST, port, requests, connections=_CONNECTIONS, seconds=bench.sizes.load_seconds)
    expect(f"statuses from {path}", set(load.statuses), {200})
    return load.requests_per_second, requests.taken
