"""What the database shows of each campaign: the figures that the system is there for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from simulator.truth import ENGAGEMENTS, Truth

_ROWS: Final = """
SELECT event_id, state::text, campaign_id, engagement_type, internet_message_id IS NOT NULL
  FROM azure_engagement_events WHERE event_id IS NOT NULL
UNION ALL
SELECT event_id, state::text, campaign_id, status, internet_message_id IS NOT NULL
  FROM azure_delivery_events WHERE event_id IS NOT NULL
"""

#: A row that the system has written for an event has the event's number as its id, negated.
_IN_LISTMONK: Final = """
SELECT campaign_id, 'native_views', count(*) FROM campaign_views WHERE id > 0 GROUP BY 1
UNION ALL SELECT campaign_id, 'our_views', count(*) FROM campaign_views WHERE id < 0 GROUP BY 1
UNION ALL SELECT campaign_id, 'native_clicks', count(*) FROM link_clicks WHERE id > 0 GROUP BY 1
UNION ALL SELECT campaign_id, 'our_clicks', count(*) FROM link_clicks WHERE id < 0 GROUP BY 1
UNION ALL SELECT campaign_id, 'bounces', count(*) FROM bounces GROUP BY 1
UNION ALL SELECT campaign_id, 'seen_by_both', count(*) FROM azure_engagement_events
           WHERE uncounted = 'native' GROUP BY 1
"""


@dataclass(slots=True)
class Figures:
    """One campaign's. ``sent`` is the mailer's figure, all others are the database's.

    Parked events name no campaign in the database: whose they are is the truth's secret.
    """

    sent: int = 0
    delivered: int = 0
    opens: int = 0
    clicks: int = 0
    other_reports: int = 0
    parked: int = 0
    events: int = 0
    with_message_id: int = 0

    @property
    def population_rate(self) -> float:
        """The share of its events that carry a Message-ID, of those that Azure reported."""
        return self.with_message_id / self.events if self.events else 0.0


def figures_by_campaign(truth: Truth, connection: psycopg.Connection) -> dict[int, Figures]:
    """Return the figures of every campaign of the ledger."""
    figures: defaultdict[int, Figures] = defaultdict(Figures)
    for message in truth.messages.values():
        figures[message.campaign_id].sent += 1
    for event_id, state, campaign_id, what, has_message_id in connection.execute(_ROWS):
        event = truth.events.get(event_id)
        if event is None or event.message is None:
            continue
        rightful = figures[truth.messages[event.message].campaign_id]
        rightful.events += 1
        rightful.with_message_id += has_message_id
        if state != "attributed":
            rightful.parked += 1
            continue
        credited = figures[campaign_id]
        match what.casefold():
            case "view":
                credited.opens += 1
            case "click":
                credited.clicks += 1
            case "delivered":
                credited.delivered += 1
            case other if other not in ENGAGEMENTS:
                credited.other_reports += 1
    return dict(figures)


@dataclass(slots=True)
class InListmonk:
    """One campaign's rows in listmonk's tables: listmonk's own, and those that the system has written.

    ``seen_by_both``: views and clicks that Azure reported as well, and that only listmonk's own row counts.
    """

    native_views: int = 0
    our_views: int = 0
    native_clicks: int = 0
    our_clicks: int = 0
    bounces: int = 0
    seen_by_both: int = 0


def listmonk_by_campaign(connection: psycopg.Connection[Any]) -> dict[int, InListmonk]:
    """Return what listmonk's tables hold of every campaign."""
    campaigns: defaultdict[int, InListmonk] = defaultdict(InListmonk)
    for campaign_id, name, count in connection.execute(_IN_LISTMONK):
        setattr(campaigns[campaign_id], name, count)
    return dict(campaigns)
