"""Phase 1: as much as is drained, and no more, for minutes. Phase 2: a multiple of that, until it is refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proof.load.failures import LoadFailed
from proof.load.run import Load, Phase, in_event_loop
from proof.load.sender import Sender
from proof.load.traffic import flow
from proof.programs import Program

#: Events in one request: Event Grid's default is one, and whoever sends much sets it higher.
_PER_REQUEST: Final = (1, 100)
#: Seconds between two looks at the backlog.
_GLANCE_SECONDS: Final = 0.02
#: Share of the time before the rate is measured.
_WARM_UP: Final = 0.1
#: Share of the time that the worker may run in the overload. Load and worker have the same cores here: what is sent at
#: the rate that a free worker drains is a multiple of what this one does.
_RUNS: Final = 0.15
_CYCLE_SECONDS: Final = 0.4
#: A shorter time tells nothing of growth: buffers are still filling.
_TELLING_SECONDS: Final = 120.0


def limit(load: Load) -> list[Phase]:
    """Keep the streams just so full that no drain process is idle, and see whether memory grows."""
    with load.phase("limit", steady=load.sizes.limit_seconds >= _TELLING_SECONDS) as phase:
        started = time.monotonic()
        sender, highest = in_event_loop(_apply(load, load.sizes.limit_seconds))
        phase.memory = load.watch.since(started)
        phase.note("events accepted and drained", f"{sender.accepted_events:,}")
        phase.note("events per second", f"{load.drained_per_second:,.0f}")
        phase.note("highest backlog", f"{highest:,} entries")
        if sender.refused:
            phase.wrong.append(f"{sender.refused:,} requests were refused at the limit, where nothing may pile up.")
    return [phase]


def overload(load: Load) -> list[Phase]:
    """Send a multiple of what is drained until the receiver refuses it, go on for a while, and see it recover.

    So that there can be as much on a machine that has no core to spare, the worker stands still most of the time.
    """
    if load.drained_per_second is None:
        load.say("measuring how much is drained")
        in_event_loop(_apply(load, load.sizes.measuring_seconds))
    with load.phase("overload") as phase:
        in_event_loop(_overload(load, phase))
    return [phase]


@contextmanager
def _held_back(worker: Program) -> Iterator[None]:
    """Have the worker with all its processes stand still for most of each moment."""
    over = threading.Event()

    def hold() -> None:
        while not over.wait(_CYCLE_SECONDS * _RUNS):
            with worker.frozen():
                over.wait(_CYCLE_SECONDS * (1 - _RUNS))

    thread = threading.Thread(target=hold, name="hold-back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _apply(load: Load, seconds: float) -> tuple[Sender, int]:
    """Apply load for so many seconds and measure the rate; return its sender and the highest backlog."""
    highest = 0
    async with load.sender() as sender:
        started = time.monotonic()
        measured_from, accepted_before = started, 0
        for block in flow(load.truth, load.chance, _PER_REQUEST):
            for request in block:
                while (waiting := load.system.backlog()) > load.sizes.waiting:
                    highest = max(highest, waiting)
                    load.system.require_alive()
                    await asyncio.sleep(_GLANCE_SECONDS)
                await sender.put(request)
            now = time.monotonic()
            if not accepted_before and now - started > _WARM_UP * seconds:
                measured_from, accepted_before = now, sender.accepted_events
            if now - started > seconds:
                break
        load.drained_per_second = (sender.accepted_events - accepted_before) / (time.monotonic() - measured_from)
        await sender.finish(load.sizes.patience_seconds)
    return sender, highest


async def _overload(load: Load, phase: Phase) -> None:
    sizes, drained = load.sizes, load.drained_per_second or 0.0
    async with load.sender() as sender:
        started = looked_at = time.monotonic()
        offered = highest = 0
        with _held_back(load.system.worker):
            for block in flow(load.truth, load.chance, _PER_REQUEST):
                for request in block:
                    await asyncio.sleep(started + offered / drained - time.monotonic())
                    await sender.put(request)
                    offered += request.events
                    if time.monotonic() - looked_at > _GLANCE_SECONDS:
                        looked_at = time.monotonic()
                        highest = max(highest, load.system.backlog())
                now = time.monotonic()
                if sender.first_refused_at is not None and now - sender.first_refused_at > sizes.refused_seconds:
                    break
                if sender.first_refused_at is None and now - started > sizes.overload_seconds:
                    raise LoadFailed(f"Nothing was refused in {now - started:.0f} s; {highest:,} entries waited.")
            stopped = time.monotonic()
            taken, requests, waiting = sender.accepted_events, sender.accepted_requests, load.system.backlog()
        await sender.finish(sizes.patience_seconds)
        all_accepted = time.monotonic()
        load.system.wait_until_idle(sizes.patience_seconds)
    rate = offered / (stopped - started)
    # Of what was taken all is drained that does not wait; what waits is counted in requests.
    drained = taken / (stopped - started) * max(0.0, 1 - waiting / max(1, requests))
    phase.note("offered", f"{rate:,.0f} events/s, {rate / max(1.0, drained):.1f} times the {drained:,.0f} drained")
    phase.note("until the first 503", f"{(sender.first_refused_at or stopped) - started:,.1f} s")
    phase.note("answers 503", f"{sender.refused:,}")
    phase.note("highest backlog", f"{highest:,} entries; {sizes.backlog_limit:,} is the limit")
    phase.note("events taken during the overload", f"{taken:,} of {offered:,}")
    phase.note("from its end until everything was taken", f"{all_accepted - stopped:,.1f} s")
    phase.note("from its end until the backlog was zero", f"{time.monotonic() - stopped:,.1f} s")
    if sender.without_retry_after:
        phase.wrong.append(f"{sender.without_retry_after:,} answers 503 had no Retry-After.")
