"""The dashboard of the way of an event: in, on the stream, into the database, and out to the webhook."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Query, Row


def _rate(metric: str, *labels: str, legend: str = "") -> Query:
    """Return the rate of a counter, by its labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return Query(
        f"sum{by} (rate({metric}[$__rate_interval]))", legend or " ".join(f"{{{{{label}}}}}" for label in labels)
    )


def _quantiles(metric: str, *labels: str) -> list[Query]:
    """Return the median and what all but a hundredth stay below, of a histogram."""
    by, said = ", ".join((*labels, "le")), " ".join(f"{{{{{label}}}}}" for label in labels)
    return [
        Query(
            f"histogram_quantile({quantile}, sum by ({by}) (rate({metric}_bucket[$__rate_interval])))",
            f"{said} {words}".strip(),
        )
        for quantile, words in ((0.5, "half"), (0.99, "99 %"))
    ]


_IN: Final = Row(
    "In",
    [
        Panel(
            "What does the receiver answer?",
            "200 and 202: kept. 404: a wrong secret. 413: lost to us, make room for it. 503: comes again.",
            "reqps",
            [_rate("attribution_requests_total", "route", "status")],
            alerts=["AttributionEventsRefused", "AttributionBodyTooLarge", "AttributionNoEvents"],
        ),
        Panel(
            "Whom does it turn away?",
            "secret, token: a rotation went wrong. missing: strangers. backlog, memory: it spares"
            " Redis. slow, large: connections.",
            "reqps",
            [
                _rate("attribution_callers_refused_total", "route", "reason", legend="refused {{route}} {{reason}}"),
                _rate("attribution_requests_shed_total", "reason", legend="shed {{reason}}"),
                _rate("attribution_connections_ended_total", "reason", legend="ended {{reason}}"),
                _rate("attribution_handshakes_total", "schema", "outcome", legend="handshake {{schema}} {{outcome}}"),
            ],
            alerts=["AttributionCallersRefused", "AttributionRequestsShed", "AttributionConnectionsEnded"],
        ),
        Panel(
            "How long does Redis take to keep a write?",
            "Above tens of milliseconds the disk is slow. Event Grid is told 503 after two seconds.",
            "s",
            _quantiles("attribution_redis_seconds"),
            alerts=["AttributionAppendsFail", "AttributionRedisNotWritable"],
        ),
        Panel(
            "Does Redis fail to keep anything?",
            "Appends that were not confirmed come again. A loss of a stream does not: see the runbook at once.",
            "ops",
            [
                _rate("attribution_append_failures_total", "reason", legend="not kept: {{reason}}"),
                _rate("attribution_stream_losses_total", "stream", legend="{{stream}} lost"),
            ],
            alerts=["AttributionAppendsFail", "AttributionStreamLost", "AttributionRedisNotPersisting"],
        ),
    ],
)

_BACKLOG: Final = Row(
    "On the stream",
    [
        Panel(
            "How much waits on the streams?",
            "It goes up in bursts and must come down. Two million is the limit.",
            "none",
            [
                Query("attribution:backlog_entries:max", "{{stream}}"),
                Query("max by (stream) (attribution_pending_entries)", "{{stream}}, read and not acknowledged"),
            ],
            alerts=["AttributionBacklogGrowing"],
        ),
        Panel(
            "How old is the oldest entry?",
            "Above five minutes: no worker, no PostgreSQL, an alarm, or too much.",
            "s",
            [Query("attribution:backlog_age_seconds:max", "{{stream}}")],
            red=300,
            alerts=["AttributionBacklogOld", "AttributionDrainSlowed"],
        ),
        Panel(
            "How long is it since anything came?",
            "Compare with how often you send. The alert asks for six hours.",
            "s",
            [Query("time() - max by (stream) (attribution_last_entry_timestamp_seconds)", "{{stream}}")],
            alerts=["AttributionNoEvents"],
        ),
        Panel(
            "How full is Redis?",
            "Above 70 % requests are answered 503.",
            "percentunit",
            [Query('max(attribution_redis_memory_ratio{job="receiver"})', "of its maxmemory")],
            red=0.7,
            alerts=["AttributionRedisMemoryHigh"],
        ),
    ],
)

_DRAIN: Final = Row(
    "Into the database",
    [
        Panel(
            "How long from receipt to row?",
            "Each column is a time, its dark cells are where most entries are. A second band above"
            " is a backlog, or a claim.",
            "s",
            [
                Query(
                    "sum by (le) (increase(attribution_receipt_to_row_seconds_bucket[$__rate_interval]))",
                    "{{le}}",
                )
            ],
            "heatmap",
            alerts=["AttributionReceiptSlow"],
        ),
        Panel(
            "How long from the reader's act to its row?",
            "Azure's own delay is in it: minutes are usual. Hours are what Event Grid has kept, or a replay.",
            "s",
            [Query("sum by (le) (increase(attribution_event_to_row_seconds_bucket[$__rate_interval]))", "{{le}}")],
            "heatmap",
        ),
        Panel(
            "How long from receipt to row, at most?",
            "99 % should be below ten seconds; a tenth is usual.",
            "s",
            [
                Query("attribution:receipt_to_row_seconds:p99_10m", "{{stream}} 99 %"),
                Query("attribution:receipt_to_row_seconds:p50_10m", "{{stream}} half"),
            ],
            red=10,
            alerts=["AttributionReceiptSlow"],
        ),
        Panel(
            "How long does a batch take?",
            "It grows with its size. Seconds with small batches: PostgreSQL's disk, or locks.",
            "s",
            _quantiles("attribution_batch_seconds", "stream"),
        ),
        Panel(
            "How many entries has a batch?",
            "One, when entries come one by one; thousands, when a backlog is worked off.",
            "none",
            [
                Query(
                    "sum by (stream) (rate(attribution_batch_entries_sum[$__rate_interval]))"
                    " / (sum by (stream) (rate(attribution_batch_entries_count[$__rate_interval])) > 0)",
                    "{{stream}}",
                )
            ],
        ),
        Panel(
            "What could not be read in the last hour?",
            "`attribution quarantine` has the bytes, docs/quarantine.md each reason and its cure.",
            "none",
            [Query("sort_desc(sum by (reason) (increase(attribution_quarantined_total[1h])) > 0)", "{{reason}}")],
            "bargauge",
            alerts=["AttributionQuarantineRatioHigh", "AttributionDrainSlowed"],
        ),
        Panel(
            "What share could not be read?",
            "Above 1 % somebody sends nonsense; above 10 % the drain slows down.",
            "percentunit",
            [
                Query("attribution:quarantined:ratio1h", "events and trackings, counted"),
                Query("max(attribution_malformed_ratio)", "events, measured"),
                Query("max by (kind) (attribution_alarm_open)", "alarm {{kind}}"),
            ],
            red=0.01,
            alerts=["AttributionQuarantineRatioHigh"],
        ),
        Panel(
            "How large is the archive?",
            "It grows with the traffic of `ATTRIBUTION_ARCHIVE_RETENTION`. If it never falls,"
            " purge_archive does not run.",
            "bytes",
            [Query("max(attribution_archive_bytes)", "archive")],
        ),
    ],
)

_TASKS: Final = Row(
    "Tasks",
    [
        Panel(
            "How do tasks end?",
            "failed: Flower has the traceback. retried: PostgreSQL or Redis were away for a moment.",
            "ops",
            [_rate("attribution_tasks_total", "task", "outcome")],
            alerts=["AttributionTasksFailing", "AttributionTaskNeverSucceeds"],
        ),
        Panel(
            "How long do tasks take?",
            "A task that nears a minute is ended.",
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (task, le) (rate(attribution_task_seconds_bucket[5m])))",
                    "{{task}} 99 %",
                )
            ],
        ),
        Panel(
            "How long is it since each task succeeded?",
            "Those of beat succeed every few seconds or minutes. If all grow at once, beat is dead.",
            "s",
            [Query("time() - max by (task) (attribution_task_last_success_timestamp_seconds > 0)", "{{task}}")],
            alerts=["AttributionBeatDead", "AttributionParkedOverdue"],
        ),
        Panel(
            "How many tasks wait?",
            "attribution.tracking: mailers are faster than workers. attribution.maintenance: the workers are busy.",
            "none",
            [Query("max by (queue) (attribution_queued_tasks)", "{{queue}}")],
            red=1000,
            alerts=["AttributionQueueGrowing"],
        ),
    ],
)

_WEBHOOK: Final = Row(
    "Out, to your webhook",
    [
        Panel(
            "Is the webhook told?",
            "failed ones come again, for three days. `attribution webhook` has the last error.",
            "ops",
            [
                _rate("attribution_webhooks_total", "outcome", legend="batches {{outcome}}"),
                _rate("attribution_webhook_events_total", legend="events delivered"),
            ],
            alerts=["AttributionOutboxStuck", "AttributionWebhookGivenUp"],
        ),
        Panel(
            "How much has it not been told?",
            "Given up: the other side did not take it for three days; retry or drop it.",
            "none",
            [
                Query("max(attribution_outbox_events)", "events"),
                Query("max by (state) (attribution_webhook_batches)", "batches {{state}}"),
            ],
            alerts=["AttributionWebhookGivenUp"],
        ),
        Panel(
            "How long has the oldest waited to be told?",
            "Seconds are usual. Above a quarter of an hour the other side does not answer, or beat does not run.",
            "s",
            [Query("max(attribution_outbox_age_seconds)", "oldest")],
            red=900,
            alerts=["AttributionOutboxStuck"],
        ),
        Panel(
            "How long does it take to answer?",
            "After `ATTRIBUTION_WEBHOOK_TIMEOUT` it is tried again.",
            "s",
            _quantiles("attribution_webhook_seconds"),
        ),
    ],
)

PIPELINE: Final = Dashboard(
    "attribution-pipeline",
    "Attribution: does the pipeline flow?",
    "Rates, what waits, and how long it takes, from Event Grid's request to the row and the webhook.",
    [_IN, _BACKLOG, _DRAIN, _TASKS, _WEBHOOK],
    since="now-3h",
)
