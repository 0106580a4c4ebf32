"""Every metric of the system, declared once, a sentence each. One prefix, base units, and no unbounded label."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram


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


# The receiver.

REQUESTS = Counter(
    "attribution_requests_total",
    "Requests answered by the receiver, by route (eventgrid, messages) and status; `gone` if the caller left before.",
    ["route", "status"],
)
CALLERS_REFUSED = Counter(
    "attribution_callers_refused_total",
    "Requests answered 404 because the caller proved nothing (missing), or the wrong thing (secret, token).",
    ["route", "reason"],
)
CONNECTIONS_ENDED = Counter(
    "attribution_connections_ended_total",
    "Connections ended before their request was complete: its head, or what follows its answer, came too slowly (slow),"
    " or there was no end of it (large).",
    ["reason"],
)
HANDSHAKES = Counter(
    "attribution_handshakes_total",
    "Subscription handshakes, by schema (eventgrid, cloudevents) and outcome (granted, refused).",
    ["schema", "outcome"],
)
APPENDED = Counter("attribution_entries_appended_total", "Entries that Redis confirmed, by stream.", ["stream"])
APPEND_FAILURES = Counter(
    "attribution_append_failures_total",
    "Appends without a confirmation: Redis unreachable, full, read_only, or refusing them otherwise.",
    ["reason"],
)
REDIS_SECONDS = Histogram(
    "attribution_redis_seconds",
    "Time Redis took to confirm the trial write, which is made once a second on the connection of the appends.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
SHED = Counter(
    "attribution_requests_shed_total",
    "Requests answered 503 to spare Redis: too much waits on the stream (backlog), or its memory fills (memory).",
    ["reason"],
)
BACKLOG_ENTRIES = Gauge("attribution_backlog_entries", "Entries on a stream, as the receiver last saw it.", ["stream"])
REDIS_MEMORY_RATIO = Gauge(
    "attribution_redis_memory_ratio",
    "Share of Redis's maxmemory in use, as the receiver last saw it; 0 without a limit.",
)
STREAM_LOSSES = Counter(
    "attribution_stream_losses_total",
    "Times a stream had lost its past: Redis was emptied, restored, or replaced by a replica that lagged.",
    ["stream"],
)
MESSAGE_WARNINGS = Counter(
    "attribution_message_warnings_total",
    "Trackings accepted by `POST /messages` whose Message-ID ACS would replace; the mailer was told.",
)
REDIS_WRITABLE = Gauge("attribution_redis_writable", "Whether Redis took the receiver's last trial write: 1 or 0.")

# The drain.

EVENTS = Counter(
    "attribution_events_total",
    "Events by what became of them: attributed (by key), parked, released, duplicate, contradiction, ignored.",
    ["outcome", "key"],
)
MESSAGES = Counter(
    "attribution_messages_total", "Send-trackings by what became of them: tracked, known, refused.", ["outcome"]
)
INCIDENTS = Counter(
    "attribution_incidents_total",
    "Incidents found, by kind: keys_disagree, message_id_replaced, poison, drift, id_missing.",
    ["kind"],
)
DRAIN_SLOWED = Gauge("attribution_drain_slowed", "Whether an alarm slows this drain process: 1 or 0.")
QUARANTINED = Counter("attribution_quarantined_total", "Malformed events and trackings, by reason.", ["reason"])
BATCH_ENTRIES = Histogram(
    "attribution_batch_entries",
    "Stream entries in a drained batch.",
    ["stream"],
    buckets=(1, 10, 100, 500, 1000, 2000, 5000),
)
BATCH_SECONDS = Histogram("attribution_batch_seconds", "Time to record a batch, commit and re-check.", ["stream"])

# The webhook.

WEBHOOKS = Counter(
    "attribution_webhooks_total",
    "Batches posted to the webhook, by what became of them: delivered, failed (and tried again), given_up.",
    ["outcome"],
)
WEBHOOK_EVENTS = Counter("attribution_webhook_events_total", "Events in batches that the webhook took.")
WEBHOOK_SECONDS = Histogram("attribution_webhook_seconds", "Time the webhook took to answer a post, or not to.")


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
