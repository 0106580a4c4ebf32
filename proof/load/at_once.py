"""Phase 3: many events at once. Phase 4: as many in one request as Event Grid ever sends, and more bytes."""

from __future__ import annotations

import time
from itertools import islice

from proof.load.run import Load, Phase, in_event_loop
from proof.load.sender import Sender
from proof.load.traffic import Request, flow

#: Shapes of a burst: the least and the most events in one request.
_SHAPES = ((1, 1), (50, 50))


def bursts(load: Load) -> list[Phase]:
    """Send so many events as fast as they are taken, each in a request of its own, and fifty in one."""
    with load.phase("bursts") as phase:
        for number in range(load.sizes.bursts):
            for shape in _SHAPES:
                requests: list[Request] = []
                events = 0
                blocks = flow(load.truth, load.chance, shape)
                while events < load.sizes.burst_events:
                    block = next(blocks)
                    requests += block
                    events += sum(request.events for request in block)
                _send_at_once(load, phase, f"burst {number + 1}, {shape[0]} per request", requests)
    return [phase]


def batches(load: Load) -> list[Phase]:
    """Send requests of the most events that Event Grid puts into one."""
    with load.phase("batches") as phase:
        per_request = load.sizes.batch_events
        blocks = flow(load.truth, load.chance, (per_request, per_request))
        requests = [request for block in islice(blocks, load.sizes.batches) for request in block]
        sender = _send_at_once(load, phase, f"{per_request:,} per request", requests)
        phase.note("largest request", f"{sender.largest_bytes / 2**20:.2f} MiB")
    return [phase]


def _send_at_once(load: Load, phase: Phase, name: str, requests: list[Request]) -> Sender:
    started = time.monotonic()
    sender = in_event_loop(_send(load, requests))
    taken = time.monotonic()
    load.system.wait_until_idle(load.sizes.patience_seconds)
    refused = f", {sender.refused:,} answers 503" if sender.refused else ""
    phase.note(
        name,
        f"{sender.accepted_events:,} events taken in {taken - started:,.1f} s,"
        f" drained after {time.monotonic() - started:,.1f} s{refused}",
    )
    return sender


async def _send(load: Load, requests: list[Request]) -> Sender:
    async with load.sender() as sender:
        for request in requests:
            await sender.put(request)
        await sender.finish(load.sizes.patience_seconds)
    return sender
