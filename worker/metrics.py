"""Every metric of the system, declared once, a sentence each. Names have one prefix and base units; no label is unbounded."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import Counter, Histogram


class _Drained(Protocol):
    """What the drain reports of a batch (tasks.batch.Drained); worker does not know tasks."""

    attributed: dict[str, int]
    parked: int
    released: int
    duplicates: int
    contradictions: int
    ignored: int
    tracked: int
    known: int
    refused: int
    quarantined: dict[str, int]


EVENTS = Counter(
    "attribution_events_total",
    "Events by what became of them: attributed (by key), parked, released, duplicate, contradiction, ignored.",
    ["outcome", "key"],
)
MESSAGES = Counter(
    "attribution_messages_total", "Send-trackings by what became of them: tracked, known, refused.", ["outcome"]
)
QUARANTINED = Counter("attribution_quarantined_total", "Malformed events and trackings, by reason.", ["reason"])
BATCH_ENTRIES = Histogram(
    "attribution_batch_entries",
    "Stream entries in a drained batch.",
    ["stream"],
    buckets=(1, 10, 100, 500, 1000, 2000, 5000),
)
BATCH_SECONDS = Histogram("attribution_batch_seconds", "Time to record, commit and acknowledge a batch.", ["stream"])


def observe_drained(stream: str, drained: _Drained, entries: int, seconds: float) -> None:
    """Count what became of a batch of ``stream``."""
    for key, count in drained.attributed.items():
        EVENTS.labels("attributed", key).inc(count)
    for outcome, count in {
        "parked": drained.parked,
        "released": drained.released,
        "duplicate": drained.duplicates,
        "contradiction": drained.contradictions,
        "ignored": drained.ignored,
    }.items():
        if count:
            EVENTS.labels(outcome, "").inc(count)
    for outcome, count in {"tracked": drained.tracked, "known": drained.known, "refused": drained.refused}.items():
        if count:
            MESSAGES.labels(outcome).inc(count)
    for reason, count in drained.quarantined.items():
        QUARANTINED.labels(reason).inc(count)
    BATCH_ENTRIES.labels(stream).observe(entries)
    BATCH_SECONDS.labels(stream).observe(seconds)
