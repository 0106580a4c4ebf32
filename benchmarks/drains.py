"""The drain as it is: ``python -m tasks.drainer`` in processes of its own, and how long it takes to empty a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

import redis

from benchmarks.load import fill_stream
from benchmarks.servers import Lost, Servers, expect, wait_until
from worker.streams import EVENTS, GROUP, MESSAGES

#: What a drain process runs.
DRAIN: Final = "tasks.drainer"
#: Seconds between two looks at what is left: a hundred a second cost the drain nothing that can be measured.
_GLANCE_SECONDS: Final = 0.01
#: Seconds without progress after which a drain counts as stuck.
_STUCK_SECONDS: Final = 60.0


def time_drain(
    servers: Servers,
    client: redis.Redis,
    database_url: str,
    *,
    prepared: str,
    stream: str,
    processes: int,
    settings: Mapping[str, str] | None = None,
    command: str = DRAIN,
) -> float:
    """Drain a copy of the stream ``prepared`` as ``stream``, and return the entries acknowledged per second.

    ``settings`` are added to the environment of the drain processes, which run the module ``command``.

    The clock is to see neither the start of the processes nor the filling of the stream, which takes longer than
    draining it. So the processes are started on empty streams, and when all wait in a blocking read, the prepared
    stream is put in place by one COPY inside Redis, group and all: they find everything there at once. The clock runs
    from the first acknowledgement to the last, and what the first one acknowledged is not counted.

    Raises:
        Lost: an entry was left, or a process ended.
    """
    with idle_drains(servers, client, database_url, processes, settings, command):
        started = time.perf_counter()
        client.copy(prepared, stream, replace=True)
        rate = _entries_per_second(client, stream, client.xlen(prepared), started)
        expect(f"entries still pending on {stream}", client.xpending(stream, GROUP)["pending"], 0)
    return rate


@contextmanager
def idle_drains(
    servers: Servers,
    client: redis.Redis,
    database_url: str,
    processes: int,
    settings: Mapping[str, str] | None = None,
    command: str = DRAIN,
) -> Iterator[None]:
    """Have ``processes`` drain processes running, which wait for the first entry of either stream."""
    for stream in (EVENTS, MESSAGES):
        fill_stream(client, stream, ())
    with ExitStack() as running:
        for number in range(processes):
            running.enter_context(
                servers.process(f"drain-{number}", command, database_url=database_url, settings=settings)
            )
        wait_for_readers(client, processes)
        yield


def wait_for_readers(client: redis.Redis, number: int) -> None:
    """Wait until so many clients of Redis wait in a blocking read."""
    wait_until(lambda: client.info("clients")["blocked_clients"] >= number, f"for {number} readers of Redis")


def wait_until_drained(client: redis.Redis, stream: str) -> None:
    """Wait until every entry of ``stream`` has been acknowledged, which is when its effects have been committed."""
    wait_until(lambda: not client.xlen(stream), f"for {stream} to be drained", seconds=_STUCK_SECONDS)


def _entries_per_second(client: redis.Redis, stream: str, total: int, put_at: float) -> float:
    counted, clock, left = total, put_at, total
    progressed = time.perf_counter()
    while left:
        time.sleep(_GLANCE_SECONDS)
        now, before = time.perf_counter(), left
        left = client.xlen(stream)
        if before == total and 0 < left < total:
            # The first acknowledgement. A stream so short that it is also the last one is timed from its beginning.
            counted, clock = left, now
        if left < before:
            progressed = now
        elif now - progressed > _STUCK_SECONDS:
            raise Lost(f"The drain has been stuck for {_STUCK_SECONDS:.0f} s with {left} entries left on {stream}.")
    return counted / (now - clock)
