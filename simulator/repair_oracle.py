"""Compares a database that was repaired with what is true of the accident in it."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from simulator.accident import NEW, OLD, Accident
from simulator.verdict import Fault

_CAMPAIGNS: Final = {
    "azure_engagement_events": "SELECT id, campaign_id FROM azure_engagement_events",
    "azure_delivery_events": "SELECT id, campaign_id FROM azure_delivery_events",
}
_COUNTS: Final = {
    "campaign_views": "SELECT campaign_id, count(*) FROM campaign_views GROUP BY 1",
    "link_clicks": "SELECT campaign_id, count(*) FROM link_clicks GROUP BY 1",
    "bounces": "SELECT campaign_id, count(*) FROM bounces GROUP BY 1",
}


def provable_events(accident: Accident) -> int:
    """Count the events of the accident whose true campaign can be known."""
    return sum(
        campaign is not None for events in (accident.engagements, accident.deliveries) for campaign in events.values()
    )


def judge_repair(accident: Accident, connection: psycopg.Connection[Any]) -> tuple[Fault, ...]:
    """Find every event of the accident that can be proven and is not on its true campaign, and every count that is off.

    Events and campaigns that are not of the accident are none of its business.
    """
    faults: list[Fault] = []
    events = {"azure_engagement_events": accident.engagements, "azure_delivery_events": accident.deliveries}
    counts = {
        "campaign_views": accident.true_views,
        "link_clicks": accident.true_clicks,
        "bounces": accident.true_bounces,
    }
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for table, true_campaigns in events.items():
            found = dict(connection.execute(_CAMPAIGNS[table].encode()).fetchall())
            for row_id, campaign in true_campaigns.items():
                if row_id not in found:
                    faults.append(Fault.of_row(table, row_id, "is gone"))
                elif campaign is not None and found[row_id] != campaign:
                    sentence = f"belongs to campaign {campaign}, and is credited to campaign {found[row_id]}"
                    faults.append(Fault.of_row(table, row_id, sentence))
        for table, true_counts in counts.items():
            counted = dict(connection.execute(_COUNTS[table].encode()).fetchall())
            for campaign in (OLD, NEW):
                if counted.get(campaign, 0) != true_counts[campaign]:
                    sentence = f"must have {true_counts[campaign]} rows in {table}, and has {counted.get(campaign, 0)}"
                    faults.append(Fault(f"campaign {campaign}", sentence))
    return tuple(faults)
