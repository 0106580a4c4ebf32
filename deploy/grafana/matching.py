"""The dashboard of attribution itself: do events find their messages, by which key, and is it right?"""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Query, Row

MATCHING: Final = Dashboard(
    "attribution-attribution",
    "Attribution: do events find their messages?",
    "Success and failure of lookups, by key; how many events carry the strongest key; and whether two keys agree.",
    [
        Row(
            "Success and failure",
            [
                Panel(
                    "How many of an hour's events belong to a tracked message?",
                    "If it falls, see what is parked: `attribution parked`. What has been released meanwhile counts.",
                    "percentunit",
                    [
                        Query("attribution:success:ratio1h", "found by now"),
                        Query("sum(attribution:found_by_key:ratio1h)", "found at once"),
                    ],
                    red=0.8,
                    bad_below=True,
                    alerts=["AttributionSuccessFalling"],
                ),
                Panel(
                    "Which key finds the message?",
                    "internet_message_id should find nearly all. delivery_report fills in for"
                    " mailers that do not know it.",
                    "percentunit",
                    [Query("attribution:found_by_key:ratio1h", "{{key}}")],
                    stacked=True,
                ),
                Panel(
                    "How many events find it at once, by key, and how many do not?",
                    "What is not found is parked, and released when its message is tracked.",
                    "ops",
                    [
                        Query(
                            'sum by (key) (rate(attribution_events_total{outcome="attributed"}[$__rate_interval]))',
                            "{{key}}",
                        ),
                        Query(
                            'sum(rate(attribution_events_total{outcome="parked"}[$__rate_interval]))',
                            "not found: parked",
                        ),
                    ],
                    stacked=True,
                ),
                Panel(
                    "What failed in the last hour?",
                    "Expired: no message in a week. Contradiction: the same event with other"
                    " contents; the first was kept.",
                    "none",
                    [
                        Query(
                            "sum by (outcome)"
                            ' (increase(attribution_events_total{outcome=~"parked|expired|contradiction"}[1h]))',
                            "{{outcome}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "The Message-ID",
            [
                Panel(
                    "How many carry an internetMessageId?",
                    "It should approach 100 %. Below 95 %: have mailers track Azure's id, too, and"
                    " see docs/tracking.md.",
                    "percentunit",
                    [Query("attribution:population:ratio", "{{of}}")],
                    red=0.95,
                    bad_below=True,
                    alerts=["AttributionPopulationLow"],
                ),
                Panel(
                    "Of how many is that said?",
                    "Of few a share says little: the alert asks for 50.",
                    "none",
                    [Query("max by (of) (attribution_population_events)", "{{of}}")],
                ),
            ],
        ),
        Row(
            "Is it right?",
            [
                Panel(
                    "How many clicks do two keys agree on?",
                    "Below 99 %: a mailer tracks under the wrong campaign, or a template has foreign links.",
                    "percentunit",
                    [Query("attribution:accuracy:ratio", "agree")],
                    red=0.99,
                    bad_below=True,
                    alerts=["AttributionAccuracyLow", "AttributionKeysDisagree"],
                ),
                Panel(
                    "For how many clicks do two keys speak?",
                    "Clicks of the last hour through listmonk's tracked links, whose message is known as well.",
                    "none",
                    [Query("max by (outcome) (attribution_two_key_clicks)", "{{outcome}}")],
                ),
                Panel(
                    "What is there for people to decide?",
                    "`attribution incidents` shows each. The number falls when old ones are purged.",
                    "none",
                    [Query("attribution:incidents_stored:max", "{{kind}}")],
                    alerts=["AttributionKeysDisagree", "AttributionMessageIdsReplaced", "AttributionDrift"],
                ),
                Panel(
                    "How many incidents are found?",
                    "A steady rate is a mailer or a template; a single one is a forwarded mail.",
                    "none",
                    [Query("sum by (kind) (increase(attribution_incidents_total[1h]))", "{{kind}} in an hour")],
                ),
            ],
        ),
        Row(
            "Tracking",
            [
                Panel(
                    "Are mails tracked?",
                    "During a send it should be as high as the send is fast. Refused: a Message-ID was used twice.",
                    "ops",
                    [
                        Query("sum by (outcome) (rate(attribution_messages_total[$__rate_interval]))", "{{outcome}}"),
                        Query(
                            "sum(rate(attribution_message_warnings_total[$__rate_interval]))", "with an id ACS replaces"
                        ),
                    ],
                    alerts=["AttributionTrackingsRefused", "AttributionMessageIdsReplaced"],
                ),
                Panel(
                    "How long after the send are mails tracked?",
                    "Track before the send, and it is 0. Above five minutes opens are parked for that long.",
                    "s",
                    [
                        Query("attribution:tracking_lag_seconds:p90_1h", "nine in ten, of an hour"),
                        Query(
                            "histogram_quantile(0.5, sum by (le) (rate(attribution_tracking_lag_seconds_bucket[1h])))",
                            "half, of an hour",
                        ),
                    ],
                    red=300,
                    alerts=["AttributionTrackingLate"],
                ),
            ],
        ),
    ],
)
