"""Every metric of the system, declared once, a sentence each. One prefix, base units, and no unbounded label.

Where a process counts, in its memory or in files that others read, is decided by `worker.telemetry.places`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from prometheus_client import Counter, Gauge, Histogram

from worker import streams
from worker.telemetry.places import count_into_files

# Before any metric is declared.
count_into_files()


class _BulkHistogram(Histogram):
    """A histogram that observes many values at a price that a drained batch can pay."""

    def observe_each(self, observed: Iterable[float]) -> None:
        """Observe each of ``observed``, adding to every bucket once."""
        counts = [0] * len(self._upper_bounds)
        total = 0.0
        for value in observed:
            counts[bisect_left(self._upper_bounds, value)] += 1
            total += value
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


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


def _gauge(name: str, sentence: str, *labels: str) -> Gauge:
    """Return a gauge that tells what the last process to set it said."""
    return Gauge(name, sentence, labels, multiprocess_mode="mostrecent")


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
BACKLOG_ENTRIES = _gauge("attribution_backlog_entries", "Entries on a stream, as the receiver last saw it.", "stream")
BACKLOG_AGE = _gauge(
    "attribution_backlog_age_seconds",
    "Age of the oldest entry on a stream by Redis's clock, as the receiver last saw it; 0 if there is none.",
    "stream",
)
REDIS_MEMORY_RATIO = _gauge(
    "attribution_redis_memory_ratio",
    "Share of Redis's maxmemory in use, as the receiver last saw it; 0 without a limit.",
)
REDIS_PERSISTS = _gauge(
    "attribution_redis_persists",
    "Whether Redis's last write to its append-only file went through, and its last rewrite: 1 or 0; NaN while it has"
    " not said.",
)
REDIS_KEEPS = _gauge(
    "attribution_redis_keeps", "Whether Redis's eviction policy is noeviction: 1 or 0; NaN while it has not said."
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
REDIS_WRITABLE = _gauge("attribution_redis_writable", "Whether Redis took the receiver's last trial write: 1 or 0.")

# The drain.

EVENTS = Counter(
    "attribution_events_total",
    "Events by what became of them: attributed (by key), parked, released, expired, duplicate, contradiction, ignored.",
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
DRAIN_SLOWED = Gauge(
    "attribution_drain_slowed", "Whether an alarm slows the drain processes: 1 or 0.", multiprocess_mode="max"
)
LISTMONK_ROWS = Counter(
    "attribution_listmonk_rows_total",
    "Rows written to listmonk's tables campaign_views, link_clicks and bounces, those of a transaction that was tried"
    " again included.",
    ["table"],
)
QUARANTINED = Counter("attribution_quarantined_total", "Malformed events and trackings, by reason.", ["reason"])
BATCH_ENTRIES = Histogram(
    "attribution_batch_entries",
    "Stream entries in a drained batch.",
    ["stream"],
    buckets=(1, 10, 100, 500, 1000, 2000, 5000),
)
BATCH_SECONDS = Histogram(
    "attribution_batch_seconds",
    "Time to record a batch, commit and re-check.",
    ["stream"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RECEIPT_SECONDS = _BulkHistogram(
    "attribution_receipt_to_row_seconds",
    "Time from Redis's receipt of an event or a tracking to its committed row, by stream; of large batches a sample.",
    ["stream"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600),
)
EVENT_SECONDS = _BulkHistogram(
    "attribution_event_to_row_seconds",
    "Time from when an event happened, as Azure says, to its committed row; parked ones and redeliveries included. Of"
    " large batches a sample.",
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10800, 43200, 86400),
)
TRACKING_SECONDS = _BulkHistogram(
    "attribution_tracking_lag_seconds",
    "Time from when a mail was sent, as its mailer says, to the commit of its tracking; 0 if it is tracked before. Of"
    " large batches a sample.",
    buckets=(0.01, 0.1, 1, 5, 30, 60, 300, 600, 900, 1800, 3600, 10800, 86400),
)

# Tasks.

TASKS = Counter("attribution_tasks_total", "Celery tasks that ended, by task and outcome (succeeded, failed, retried).",
                ["task", "outcome"])  # fmt: skip
TASK_SECONDS = Histogram(
    "attribution_task_seconds",
    "Time a Celery task took.",
    ["task"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
TASK_SUCCEEDED = Gauge(
    "attribution_task_last_success_timestamp_seconds",
    "When a Celery task last succeeded, in Unix time.",
    ["task"],
    multiprocess_mode="max",
)

# The webhook.

WEBHOOKS = Counter(
    "attribution_webhooks_total",
    "Batches posted to the webhook, by what became of them: delivered, failed (and tried again), given_up.",
    ["outcome"],
)
WEBHOOK_EVENTS = Counter("attribution_webhook_events_total", "Events in batches that the webhook took.")
WEBHOOK_SECONDS = Histogram("attribution_webhook_seconds", "Time the webhook took to answer a post, or not to.")


# What the task `measure` finds in PostgreSQL and on the broker, now and then, for whoever is asked.


class Measure(NamedTuple):
    """A gauge whose values are measured by one process and told by all."""

    name: str
    sentence: str
    labels: tuple[str, ...] = ()


BUILD = Measure("attribution_build_info", "Always 1; its label is the release.", ("version",))
MEASURED_AT = Measure("attribution_measured_timestamp_seconds", "When the gauges below were measured, in Unix time.")
PARKED = Measure("attribution_parked_events", "Events that wait for their message.")
PARKED_AGE = Measure(
    "attribution_parked_age_seconds", "Time since the oldest event that waits for its message was written; 0 if none."
)
OVERDUE = Measure(
    "attribution_parked_overdue_events", "Parked events whose next attempt has been due for more than a minute."
)
PARKED_EXPECTED = Measure(
    "attribution_parked_expected_events",
    "Parked events by what the waits of the past let expect: matched soon, matched later, never; or unknown.",
    ("expected",),
)
EXPIRED = Measure(
    "attribution_expired_events",
    "Events whose message did not turn up in time; of each kind no more than a million are counted.",
)
PENDING = Measure(
    "attribution_pending_entries", "Entries of a stream that were read and not acknowledged yet.", ("stream",)
)
LAST_ENTRY = Measure(
    "attribution_last_entry_timestamp_seconds", "When the newest entry came onto a stream, in Unix time.", ("stream",)
)
QUEUED = Measure("attribution_queued_tasks", "Celery messages that wait in a queue of the broker.", ("queue",))
POPULATION = Measure(
    "attribution_population_ratio",
    "Share of the last hour's engagement events, and of the messages sent in it, that have an internetMessageId.",
    ("of",),
)
POPULATION_OF = Measure(
    "attribution_population_events", "How many engagement events, and messages, that share is taken of.", ("of",)
)
MALFORMED = Measure("attribution_malformed_ratio", "Share of the last hour's events that cannot be read.")
TWO_KEYS = Measure(
    "attribution_two_key_clicks",
    "Clicks of the last hour for which two independent keys speak, by whether they agree: agree, disagree.",
    ("outcome",),
)
INCIDENTS_KEPT = Measure("attribution_incidents_stored", "Incidents in the database, by kind.", ("kind",))
ALARMS = Measure("attribution_alarm_open", "Whether the alarm of a kind is open: 1 or 0.", ("kind",))
OUTBOX = Measure("attribution_outbox_events", "Events that the webhook is yet to be told, given-up ones apart.")
OUTBOX_AGE = Measure(
    "attribution_outbox_age_seconds", "Time since the oldest of them was attributed, or put into a batch; 0 if none."
)
WEBHOOKS_KEPT = Measure(
    "attribution_webhook_batches", "Batches for the webhook that wait, or were given up, by state.", ("state",)
)
ARCHIVE_BYTES = Measure("attribution_archive_bytes", "Size of the archive in the database, indexes included.")
CAMPAIGN_ACTS = Measure(
    "attribution_campaign_acts",
    "Views and clicks of the last hour, attributed, of the campaigns that had the most of them, and of all others.",
    ("campaign", "act"),
)

#: All of them, in the order in which they are told.
MEASURED: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))


# What has not happened yet has happened 0 times, and that is told: of a series that begins with 1 Prometheus sees no
# increase, and whatever comes first, such as the one loss of a stream, would raise no alert.


def begin_receiver() -> None:
    """Tell what a receiver counts from its start, where the labels' values are known beforehand."""
    for route, refusals, statuses in (
        ("eventgrid", ("missing", "secret", "token"), ("200", "404", "413", "503")),
        ("messages", ("missing", "secret"), ("202", "404", "413", "422", "503")),
    ):
        for reason in refusals:
            CALLERS_REFUSED.labels(route, reason)
        for status in statuses:
            REQUESTS.labels(route, status)
    for reason in ("slow", "large"):
        CONNECTIONS_ENDED.labels(reason)
    for reason in ("unreachable", "full", "read_only", "loading", "refused"):
        APPEND_FAILURES.labels(reason)
    for reason in ("backlog", "memory"):
        SHED.labels(reason)
    for stream in (streams.EVENTS, streams.MESSAGES):
        STREAM_LOSSES.labels(stream)


def begin_drain(keys: Iterable[str], reasons: Iterable[str]) -> None:
    """Tell what a drain process counts from its start, by what attributes events, and why they are malformed."""
    for key in keys:
        EVENTS.labels("attributed", key)
    for outcome in ("parked", "released", "expired", "duplicate", "contradiction", "ignored"):
        EVENTS.labels(outcome, "")
    for outcome in ("tracked", "known", "refused"):
        MESSAGES.labels(outcome)
    for reason in reasons:
        QUARANTINED.labels(reason)
    for kind in ("keys_disagree", "message_id_replaced", "poison", "drift", "id_missing"):
        INCIDENTS.labels(kind)


def begin_task(task: str) -> None:
    """Tell how a task has ended so far, from when it first runs."""
    for outcome in ("succeeded", "failed", "retried"):
        TASKS.labels(task, outcome)


def observe_batch(stream: str, entries: int, seconds: float) -> None:
    """Note how large a batch of ``stream`` was, and how long it took."""
    BATCH_ENTRIES.labels(stream).observe(entries)
    BATCH_SECONDS.labels(stream).observe(seconds)


def count_listmonk_rows(table: str, rows: int) -> None:
    """Count rows written to a table of listmonk's."""
    if rows:
        LISTMONK_ROWS.labels(table).inc(rows)


def count_outcomes(drained: _Drained) -> None:
    """Count what became of events and trackings."""
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
