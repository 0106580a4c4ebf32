"""The first dashboard: is it healthy?"""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Query, Row

_YES_NO: Final = {0.0: "no", 1.0: "yes"}

OVERVIEW: Final = Dashboard(
    "attribution-overview",
    "Attribution: is it healthy?",
    "Everything that can wake somebody, at a glance. What is green needs nobody.",
    [
        Row(
            "Does anything need somebody?",
            [
                Panel(
                    "How many alerts fire?",
                    "Look at the list beside it, and begin with the first of the runbook's order.",
                    "none",
                    [Query('count(ALERTS{alertname=~"Attribution.*", alertstate="firing"}) or on () vector(0)')],
                    "stat",
                    red=1,
                ),
                Panel(
                    "Which alerts fire?",
                    "Each has a section in the dashboard *Attribution: runbook*. Empty is well.",
                    "none",
                    [Query('ALERTS{alertname=~"Attribution.*", alertstate="firing"}')],
                    "table",
                    width=16,
                ),
                Panel(
                    "Which release runs?",
                    "More than one is a deploy that is half done.",
                    "none",
                    [Query("count by (version) (attribution_build_info)", "{{version}}")],
                    "stat",
                ),
            ],
        ),
        Row(
            "Does everything run?",
            [
                Panel(
                    "How many receivers answer?",
                    "None: start one. Event Grid waits for a day.",
                    "none",
                    [Query('sum(up{job="receiver"}) or on () vector(0)')],
                    "stat",
                    red=1,
                    bad_below=True,
                    alerts=["AttributionReceiverDown", "AttributionInstanceDown"],
                ),
                Panel(
                    "How many workers answer?",
                    "None: start one. Events wait on the stream.",
                    "none",
                    [Query('sum(up{job="worker"}) or on () vector(0)')],
                    "stat",
                    red=1,
                    bad_below=True,
                    alerts=["AttributionWorkerDead", "AttributionInstanceDown"],
                ),
                Panel(
                    "How old are measured numbers?",
                    "Over a minute: beat, all workers, or PostgreSQL are away.",
                    "s",
                    [Query("time() - max(attribution_measured_timestamp_seconds)")],
                    "stat",
                    orange=60,
                    red=120,
                    alerts=["AttributionBeatDead", "AttributionDatabaseAway"],
                ),
                Panel(
                    "Does Redis take writes?",
                    "No: every request is answered 503, and comes again. The receiver's log says why.",
                    "none",
                    [Query('min(attribution_redis_writable{job="receiver"})')],
                    "stat",
                    red=1,
                    bad_below=True,
                    words=_YES_NO,
                    alerts=["AttributionRedisNotWritable"],
                ),
                Panel(
                    "Does Redis keep what it takes?",
                    "No: its append-only file cannot be written, or its eviction policy is wrong.",
                    "none",
                    [
                        Query(
                            'min(attribution_redis_persists{job="receiver"} * attribution_redis_keeps{job="receiver"})'
                        )
                    ],
                    "stat",
                    red=1,
                    bad_below=True,
                    words=_YES_NO,
                    alerts=["AttributionRedisNotPersisting", "AttributionRedisMayEvict", "AttributionStreamLost"],
                ),
                Panel(
                    "How full is Redis?",
                    "Above 70 % requests are answered 503: see what waits.",
                    "percentunit",
                    [Query('max(attribution_redis_memory_ratio{job="receiver"})')],
                    "stat",
                    orange=0.6,
                    red=0.7,
                    alerts=["AttributionRedisMemoryHigh", "AttributionRequestsShed"],
                ),
            ],
        ),
        Row(
            "Is the work done?",
            [
                Panel(
                    "How old is the oldest entry?",
                    "Usually it is below a second. If it grows, the drain is stopped or too slow.",
                    "s",
                    [Query("max(attribution:backlog_age_seconds:max)")],
                    "stat",
                    orange=60,
                    red=300,
                    alerts=["AttributionBacklogOld", "AttributionBacklogGrowing"],
                ),
                Panel(
                    "Is the drain slowed?",
                    "Yes: more than a tenth of what comes cannot be read. `attribution incidents` says what.",
                    "none",
                    [Query("max(attribution_drain_slowed)")],
                    "stat",
                    red=1,
                    words=_YES_NO,
                    alerts=["AttributionDrainSlowed"],
                ),
                Panel(
                    "How much is malformed?",
                    "Above 1 %: `attribution quarantine` counts the reasons.",
                    "percentunit",
                    [Query("attribution:quarantined:ratio1h")],
                    "stat",
                    orange=0.001,
                    red=0.01,
                    alerts=["AttributionQuarantineRatioHigh"],
                ),
                Panel(
                    "How many events find a message?",
                    "If it falls, a mailer has stopped tracking, as a rule.",
                    "percentunit",
                    [Query("attribution:success:ratio1h")],
                    "stat",
                    red=0.8,
                    orange=0.9,
                    bad_below=True,
                    alerts=["AttributionSuccessFalling"],
                ),
                Panel(
                    "How many carry the Message-ID?",
                    "Below 95 %: whose events carry no internetMessageId, says `attribution parked`.",
                    "percentunit",
                    [Query("min(attribution:population:ratio)")],
                    "stat",
                    red=0.95,
                    orange=0.98,
                    bad_below=True,
                    alerts=["AttributionPopulationLow"],
                ),
                Panel(
                    "How long has the oldest waited?",
                    "Above an hour: a mailer does not track. `attribution parked` says whose event it is.",
                    "s",
                    [Query("max(attribution_parked_age_seconds)")],
                    "stat",
                    orange=900,
                    red=3600,
                    alerts=["AttributionParkedTooOld", "AttributionParkedOverdue"],
                ),
            ],
        ),
        Row(
            "What is going on?",
            [
                Panel(
                    "How much comes in, and is drained?",
                    "Both lines of a stream should lie on each other. If less is drained, look at"
                    " the dashboard *Pipeline*.",
                    "ops",
                    [
                        Query(
                            "sum by (stream) (rate(attribution_entries_appended_total[$__rate_interval]))",
                            "{{stream}} in",
                        ),
                        Query(
                            "sum by (stream) (rate(attribution_batch_entries_sum[$__rate_interval]))", "{{stream}} out"
                        ),
                    ],
                ),
                Panel(
                    "What becomes of events?",
                    "A few parked ones, released soon, are usual. Many parked and none released: a"
                    " mailer does not track.",
                    "ops",
                    [
                        Query(
                            "sum by (outcome) (rate(attribution_events_total[$__rate_interval]))",
                            "{{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
            ],
        ),
    ],
)
