"""The dashboard of the park: what waits for its message, since when, and what is to be expected of it."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Query, Row

_FORECAST: Final = """\
The line *in an hour* only draws the last hour on. The forecast beside it compares each event that waits with those that
have waited as long before. More of it, with its doubts, is told by

```sh
attribution parked --forecast
```

which also lists those that are **not worth waiting for**: look at these. The others come by themselves. docs/parked.md
tells how it is reckoned. `attribution why` tells what is known of one.
"""

PARK: Final = Dashboard(
    "attribution-park",
    "Attribution: what waits for its message?",
    "Events that came before their message was tracked. The number rises with every send; watch the age.",
    [
        Row(
            "Now",
            [
                Panel(
                    "How many events wait?",
                    "The number says little: look at the age of the oldest.",
                    "none",
                    [Query("attribution:parked_events:max")],
                    "stat",
                    width=6,
                ),
                Panel(
                    "How long has the oldest waited?",
                    "Above an hour: a mailer does not track. `attribution parked` says whose event it is.",
                    "s",
                    [Query("max(attribution_parked_age_seconds)")],
                    "stat",
                    orange=900,
                    red=3600,
                    alerts=["AttributionParkedTooOld"],
                    width=6,
                ),
                Panel(
                    "How many should have been tried by now?",
                    "Any: the sweep does not run, or does not keep up.",
                    "none",
                    [Query("max(attribution_parked_overdue_events)")],
                    "stat",
                    red=1,
                    alerts=["AttributionParkedOverdue"],
                    width=6,
                ),
                Panel(
                    "How many have expired?",
                    "Their message was not tracked in time. They are attributed after all if it is.",
                    "none",
                    [Query("max(attribution_expired_events)")],
                    "stat",
                    width=6,
                ),
            ],
        ),
        Row(
            "And later",
            [
                Panel(
                    "How many wait, and how many will if it goes on like this?",
                    "It rises with a send and must fall after it. If it only rises, a mailer does not track.",
                    "none",
                    [
                        Query("attribution:parked_events:max", "now"),
                        Query("clamp_min(predict_linear(attribution:parked_events:max[1h], 3600), 0)", "in an hour"),
                    ],
                    alerts=["AttributionSuccessFalling"],
                ),
                Panel(
                    "What do the waits of the past let expect of them?",
                    "Those that never will be matched are to be looked at: `attribution parked --forecast` lists them.",
                    "none",
                    [Query("max by (expected) (attribution_parked_expected_events)", "{{expected}}")],
                    stacked=True,
                    alerts=["AttributionParkedTooOld"],
                ),
                Panel("What will become of them?", _FORECAST, "none", [], "text", width=24),
                Panel(
                    "How old is the oldest?",
                    "A line that rises at 45 degrees is one event that nobody will ever track.",
                    "s",
                    [Query("max(attribution_parked_age_seconds)", "oldest")],
                    red=3600,
                    alerts=["AttributionParkedTooOld"],
                ),
                Panel(
                    "How many are parked, and how many come out?",
                    "Parked and released should lie on each other, a little apart. Expired ones"
                    " found no message in a week.",
                    "ops",
                    [
                        Query(
                            'sum by (outcome) (rate(attribution_events_total{outcome=~"parked|released|expired"}'
                            "[$__rate_interval]))",
                            "{{outcome}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)
