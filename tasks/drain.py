"""Drain the streams: entries in, rows committed, entries acknowledged; in that order and no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from redis.exceptions import OutOfMemoryError, RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tasks.batch import Body, Drained, Pipeline, set_aside, work
from tasks.batch_log import batch_log
from tasks.context import Context, context
from tasks.latency import observe_latency
from tasks.messages import cut_call
from tasks.reasons import Reason
from worker.app import app
from worker.stream_consumer import Claimed, Entry, StreamConsumer
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics
from worker.telemetry.exposition import outcomes_so_far
from worker.telemetry.tracing import begun, trace_batch

_log = logging.getLogger(__name__)

#: Streams in the order in which they are drained: a message tracked before its events means that fewer of them park.
STREAMS = (MESSAGES, EVENTS)

#: Longest run of the task. The drain processes do the steady work; the task is their second trigger.
TASK_RUN = timedelta(seconds=10)
#: How often a body is tried to be taken apart.
APART_TRIES = 3
#: Most entries that the task reads at once: what it takes, the drain processes beside it cannot have.
MOST_READ = 32
#: How many bytes of a batch an element takes at least, however short it is. An event has a comma in every fifty bytes.
_ELEMENT_BYTES = 30


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one stream, with their rows where these have been parsed ahead.

    ``long`` says that it is a single call of a mailer, too long to be worked as one. ``parsing`` says when it was
    parsed, if anybody traces that: from when to when, in nanoseconds since 1970.
    """

    stream: str
    entries: Sequence[Entry]
    rows: Any = None
    long: bool = False
    parsing: tuple[int, int] | None = None


def bodies_of(entries: Sequence[Entry]) -> list[Body]:
    """Return what the entries carry."""
    return [Body(entry.body, entry.entry_id, entry.received_at) for entry in entries]


def batches_of(entries: Sequence[Entry], *, max_bytes: int) -> list[Batch]:
    """Cut entries into batches, each of one stream, in the order in which the streams are drained.

    A batch is of about ``max_bytes`` at most, since one body may hold one event or five thousand; and of fewer, if its
    bodies hold so many tiny elements that their rows would take more memory than such a batch of events.
    """
    batches: list[Batch] = []
    for stream in STREAMS:
        cut: list[Entry] = []
        size = 0
        for entry in entries:
            if entry.stream != stream:
                continue
            weight = max(len(entry.body), _ELEMENT_BYTES * entry.body.count(b","))
            if cut and size + weight > max_bytes:
                batches.append(Batch(stream, cut))
                cut, size = [], 0
            cut.append(entry)
            size += weight
        if cut:
            batches.append(Batch(stream, cut))
    return [
        replace(batch, long=len(batch.entries[0].body) > max_bytes) if batch.stream == MESSAGES else batch
        for batch in batches
    ]


def record_batch(consumer: StreamConsumer, engine: Engine, pipeline: Pipeline[Any], batch: Batch) -> Drained:
    """Record a batch, commit, and re-check. When this returns, and not before, it may be acknowledged.

    It may be killed at any line: run again over the same entries, it changes nothing that it has done, and does the
    rest.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, redis.exceptions.RedisError: the batch could not be recorded, or cut. Its
            entries were handed back and stay pending.
    """
    with trace_batch(batch.stream, batch.entries, batch.parsing) as span:
        started = time.perf_counter()
        try:
            with consumer.holding(batch.entries):
                if batch.long and cut_long_call(consumer, batch.entries[0]):
                    return Drained()
                drained = work(pipeline, engine, bodies_of(batch.entries), batch.rows)
        except (RedisError, SQLAlchemyError):
            consumer.give_back(batch.entries)
            raise
        seconds = time.perf_counter() - started
        if span is not None:
            span.set_attributes({f"attribution.{name}": count for name, count in drained.counts().items()})
    try:
        metrics.observe_batch(batch.stream, len(batch.entries), seconds)
        if batch.rows is not None:
            observe_latency(batch.rows)
        batch_log.tell(batch.stream, batch.entries, drained, seconds)
    except Exception:  # it is recorded: what is told of it must not keep it from being acknowledged
        _log.exception("a recorded batch could not be told of")
    return drained


def cut_long_call(consumer: StreamConsumer, entry: Entry) -> bool:
    """Put a call of many trackings back onto its stream as many calls of few, which any drain process may take.

    Worked as one it would outlast the time after which others take it for abandoned, and be begun again and again.
    Returns whether there was something to cut, and room for it: a full Redis takes nothing, and then it is worked as it
    is. The caller acknowledges it either way; if he dies before, it is cut again, and what is tracked twice is known.
    """
    calls = cut_call(entry.body)
    if len(calls) == 1:
        return False
    try:
        consumer.append(MESSAGES, calls, entry.origin)
    except OutOfMemoryError:
        return False
    return True


def drain_batch(consumer: StreamConsumer, engine: Engine, pipeline: Pipeline[Any], batch: Batch) -> Drained:
    """Record a batch and acknowledge it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: as in `record_batch`.
        redis.exceptions.RedisError: it is recorded, and could not be acknowledged. It will be delivered again.
    """
    drained = record_batch(consumer, engine, pipeline, batch)
    consumer.acknowledge(batch.entries)
    return drained


def retire_exhausted(
    consumer: StreamConsumer, engine: Engine, pipeline: Pipeline[Any], entries: Sequence[Entry], *, max_deliveries: int
) -> Drained:
    """Deal with entries that were delivered too often: whatever worked them did not live to tell why.

    One that holds several elements goes back onto its stream element by element: its neighbours go through, and the
    culprit alone is delivered too often once more. A lone element is quarantined, and so is, whole, a body that has
    ended its process even in being taken apart, a few times.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, redis.exceptions.RedisError: nothing is lost; what is left was handed back.
    """
    drained = Drained()
    for position, entry in enumerate(entries):
        try:
            elements = pipeline.split(entry.body) if entry.deliveries <= max_deliveries + APART_TRIES else []
            if len(elements) < 2:
                drained += set_aside(engine, pipeline, bodies_of([entry]), Reason.DELIVERED_TOO_OFTEN, None)
            else:
                consumer.append(entry.stream, elements, entry.origin)
                _log.error(
                    "took entry %s of %s apart: it ended its process, again and again", entry.entry_id, entry.stream
                )
            consumer.acknowledge([entry])
        except (RedisError, SQLAlchemyError):
            consumer.give_back(entries[position:])  # a full Redis, or PostgreSQL away, is no fault of theirs
            raise
    return drained


def parsed(ctx: Context, batch: Batch) -> Batch:
    """Return the batch with its rows; one that is to be cut without, for its parts will be parsed."""
    if batch.long:
        return batch
    began = begun()
    rows = ctx.pipelines[batch.stream].parse(bodies_of(batch.entries))
    return replace(batch, rows=rows, parsing=(began, begun()) if began else None)


def note_batch(ctx: Context, batch: Batch, drained: Drained) -> None:
    """Have the pace take notice of a batch that is recorded, and see how fast to go on."""
    if batch.stream == EVENTS:
        ctx.pace.note(batch.rows.parsed, bodies_of(batch.entries), drained)
    ctx.pace.look(ctx.engine)


def drain_each(ctx: Context, batches: Sequence[Batch], stopping: Callable[[], bool] = lambda: False) -> Drained:
    """Work batches one after the other. If one fails, those behind it are handed back untouched, as when ``stopping``.

    Taking them has counted as a delivery; without that, a fault of PostgreSQL's would be held against innocent entries.
    """
    drained = Drained()
    for position, batch in enumerate(batches):
        if position and stopping():
            for untouched in batches[position:]:
                ctx.consumer.give_back(untouched.entries)
            break
        try:
            batch = parsed(ctx, batch)
            worked = drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[batch.stream], batch)
            note_batch(ctx, batch, worked)
            drained += worked
        except Exception:
            for untouched in batches[position + 1 :]:
                ctx.consumer.give_back(untouched.entries)
            raise
    return drained


def drain_abandoned(ctx: Context, stopping: Callable[[], bool] = lambda: False) -> Drained:
    """Take over and work what dead processes left pending, as much as is due, or until ``stopping`` says so."""
    drained = Drained()
    max_bytes = ctx.settings.drain_batch_bytes
    while not stopping():
        claimed = ctx.consumer.claim(
            min_idle=ctx.settings.claim_after,
            max_deliveries=ctx.settings.max_deliveries,
            count=ctx.settings.drain_batch_entries,
        )
        drained += retire_each(ctx, claimed)
        drained += drain_each(ctx, batches_of(claimed.entries, max_bytes=max_bytes), stopping)
        if not (claimed.entries or claimed.exhausted):
            break
    return drained


def retire_each(ctx: Context, claimed: Claimed) -> Drained:
    """Retire what is exhausted of ``claimed``; if that fails, all of it is handed back: it was not even tried."""
    drained = Drained()
    exhausted = {stream: [entry for entry in claimed.exhausted if entry.stream == stream] for stream in STREAMS}
    for stream in STREAMS:
        entries = exhausted.pop(stream)
        try:
            drained += retire_exhausted(
                ctx.consumer,
                ctx.engine,
                ctx.pipelines[stream],
                entries,
                max_deliveries=ctx.settings.max_deliveries,
            )
        except Exception:
            ctx.consumer.give_back([*claimed.entries, *(entry for rest in exhausted.values() for entry in rest)])
            raise
    return drained


@app.task(name="drain_events")
def drain_events() -> str:
    """Drain both streams until they are empty, or for ten seconds.

    The message that starts it carries nothing and may be lost or doubled: the worker's drain processes do the same all
    the time, and this is the net under them.
    """
    ctx = context()
    ctx.require_postgresql()
    ctx.pace.look(ctx.engine)
    max_bytes = ctx.settings.drain_batch_bytes
    until = time.monotonic() + TASK_RUN.total_seconds()

    def is_over() -> bool:
        return time.monotonic() >= until

    drained = drain_abandoned(ctx, is_over)
    while not is_over():
        most, bytes_of_them = ctx.pace.limit(MOST_READ, max_bytes)
        entries = ctx.consumer.read(count=most, max_bytes=bytes_of_them, block=None)
        if not entries:
            break
        drained += drain_each(ctx, batches_of(entries, max_bytes=max_bytes), is_over)
        if ctx.pace.slowed:
            break  # the next tick takes the next few
    batch_log.tell_rest(now=True)
    return f"{drained}{_so_far()}"


def _so_far() -> str:
    """Say what the drain processes, which do the steady work and are no task, have done: Flower shows nothing else."""
    words = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(outcomes_so_far().items()) if count)
    return f"; this worker so far: {words}" if words else ""
