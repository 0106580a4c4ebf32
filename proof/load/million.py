"""Phase 5: a million parked events, released by one call that tracks their messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from celery import Celery

from proof.load.run import Load, Phase, in_event_loop
from proof.load.traffic import Parked, tracking
from worker.queues import TRACKING
from worker.streams import MESSAGES

_PER_REQUEST: Final = 500
_PARKED: Final = (
    "SELECT count(*) FROM (SELECT FROM azure_engagement_events WHERE state = 'parked'"
    " UNION ALL SELECT FROM azure_delivery_events WHERE state = 'parked') AS parked"
)
#: Seconds between two looks at how many are parked still, and at the backlog.
_GLANCE_SECONDS: Final = 1.0
_ROOM_SECONDS: Final = 0.05
#: Seconds a Redis may take to note a call of a hundred megabytes.
_BROKER_SECONDS: Final = 120


def million(load: Load) -> Iterator[Phase]:
    """Park and release by both doors that take a call of any size, in both shapes: many messages, and few."""
    for door in _DOORS:
        for per_message in (1, load.sizes.per_message):
            with load.phase(f"{load.sizes.parked:,} parked, {per_message:,} a message, {door} door") as phase:
                _park_and_release(load, phase, door, load.truth.park(load.sizes.parked, per_message))
            yield phase


def _park_and_release(load: Load, phase: Phase, door: str, parked: Parked) -> None:
    before = _count_parked(load)
    started = time.monotonic()
    in_event_loop(_park(load, parked))
    load.system.wait_until_idle(load.sizes.patience_seconds)
    phase.note("parked", f"{_count_parked(load) - before:,} events in {time.monotonic() - started:,.1f} s")
    added_before = _entries_added(load)
    started = time.monotonic()
    trackings = [tracking(message) for message in parked.messages()]
    size = _DOORS[door](load, trackings)
    phase.note("one call", f"{len(trackings):,} messages, {size / 2**20:,.1f} MiB of JSON")
    load.say(f"{len(trackings):,} messages are tracked by one call")
    load.system.wait_until(
        lambda: _count_parked(load) <= before,
        load.sizes.patience_seconds,
        f"{parked.events:,} events to be released",
        _GLANCE_SECONDS,
    )
    phase.note("released", f"after {time.monotonic() - started:,.1f} s")
    phase.note("entries that took part of it", f"{_entries_added(load) - added_before:,}")


async def _park(load: Load, parked: Parked) -> None:
    async with load.sender() as sender:
        for request in parked.requests(min(_PER_REQUEST, parked.events)):
            while load.system.backlog() > load.sizes.waiting:
                await asyncio.sleep(_ROOM_SECONDS)
            await sender.put(request)
        await sender.finish(load.sizes.patience_seconds)


def _by_celery(load: Load, trackings: list[dict[str, Any]]) -> int:
    with Celery("load-mailer", broker=load.system.broker_url, set_as_current=False) as mailer:
        mailer.conf.broker_transport_options = {"socket_timeout": _BROKER_SECONDS}
        mailer.send_task("track_messages", args=[trackings], queue=TRACKING, ignore_result=True)
    return len(msgspec.json.encode(trackings))


def _by_stream(load: Load, trackings: list[dict[str, Any]]) -> int:
    body = msgspec.json.encode(trackings)
    load.system.client.xadd(MESSAGES, {"body": body})
    return len(body)


_DOORS: Final = {"Celery": _by_celery, "stream": _by_stream}


def _count_parked(load: Load) -> int:
    with load.system.connect() as connection:
        ((count,),) = connection.execute(_PARKED).fetchall()
    return int(count)


def _entries_added(load: Load) -> int:
    stream: Any = load.system.client.xinfo_stream(MESSAGES)
    return int(stream["entries-added"])
