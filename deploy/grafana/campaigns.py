"""The dashboard of campaigns: views and clicks per hour."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Query, Row

CAMPAIGNS: Final = Dashboard(
    "attribution-campaigns",
    "Attribution: what do campaigns come to?",
    "Attributed views and clicks of the last hour, for the twenty busiest campaigns and for all others together."
    " `attribution stats` has the whole of each.",
    [
        Row(
            "The last hour",
            [
                Panel(
                    "How many views?",
                    "None during a send: engagement tracking may be off for the domain.",
                    "none",
                    [Query('sum(max by (campaign) (attribution_campaign_acts{act="view"}))')],
                    "stat",
                    width=8,
                ),
                Panel(
                    "How many clicks?",
                    "None beside many views: links may not be tracked.",
                    "none",
                    [Query('sum(max by (campaign) (attribution_campaign_acts{act="click"}))')],
                    "stat",
                    width=8,
                ),
                Panel(
                    "How many clicks on a hundred views?",
                    "A leap up is a scanner that follows every link, as a rule: `attribution events`"
                    " shows the user agents.",
                    "percent",
                    [
                        Query(
                            '100 * sum(max by (campaign) (attribution_campaign_acts{act="click"}))'
                            ' / (sum(max by (campaign) (attribution_campaign_acts{act="view"})) > 0)'
                        )
                    ],
                    "stat",
                    width=8,
                ),
                Panel(
                    "Which campaigns are viewed most?",
                    "By campaign's number, as in listmonk. `attribution why --campaign` explains a number.",
                    "none",
                    [Query('sort_desc(max by (campaign) (attribution_campaign_acts{act="view"}))', "{{campaign}}")],
                    "bargauge",
                ),
                Panel(
                    "Which campaigns are clicked most?",
                    "By campaign's number, as in listmonk. `attribution why --campaign` explains a number.",
                    "none",
                    [Query('sort_desc(max by (campaign) (attribution_campaign_acts{act="click"}))', "{{campaign}}")],
                    "bargauge",
                ),
            ],
        ),
        Row(
            "Hour by hour",
            [
                Panel(
                    "How many views has each campaign in an hour?",
                    "Each point is the hour before it. A campaign that leaves the twenty busiest goes into other.",
                    "none",
                    [Query('max by (campaign) (attribution_campaign_acts{act="view"})', "{{campaign}}")],
                    stacked=True,
                ),
                Panel(
                    "How many clicks has each campaign in an hour?",
                    "Each point is the hour before it. A campaign that leaves the twenty busiest goes into other.",
                    "none",
                    [Query('max by (campaign) (attribution_campaign_acts{act="click"})', "{{campaign}}")],
                    stacked=True,
                ),
                Panel(
                    "How many rows does listmonk get in an hour?",
                    "Fewer than views and clicks: what listmonk has counted itself is counted once.",
                    "none",
                    [Query("sum by (table) (increase(attribution_listmonk_rows_total[1h]))", "{{table}}")],
                    width=24,
                ),
            ],
        ),
    ],
    since="now-24h",
)
