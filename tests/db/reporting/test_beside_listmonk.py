"""The numbers beside listmonk's own count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from db.engine import create_engine
from db.models import EngagementEvent
from db.reporting import stream_events
from db.results import Results
from db.tracking import track_messages
from simulator import listmonk
from tests.db.listmonk.counts import record as record_in_listmonk
from tests.db.reporting.facts import stats
from tests.db.rows import NOW, click, message

_IN_LISTMONK = """
SELECT (SELECT count(*) FROM campaign_views WHERE campaign_id = 7),
       (SELECT count(*) FROM link_clicks WHERE campaign_id = 7)
"""


def test_in_listmonks_database_its_count_is_ours_and_the_native_acts_that_azure_did_not_report(
    listmonk_database_url: str,
) -> None:
    def view(number: int, **fields: Any) -> EngagementEvent:
        return click(f"view {number}", engagement_type="view", engagement_context="", **fields)

    at = [NOW - minutes * timedelta(minutes=1) for minutes in range(6)]
    engine = create_engine(listmonk_database_url, for_batches=True)
    with engine.begin() as conn:
        track_messages(conn, [message(campaign=7, subscriber=12)])
    with psycopg.connect(listmonk_database_url, autocommit=True) as native:
        link = listmonk.link(native, "https://www.example.com/offer")
        listmonk.view(native, 7, 12, at[1])  # also reported by Azure, later
        listmonk.click(native, 7, 12, link, at[1])
        listmonk.view(native, 7, 13, at[5])  # never reported
        record_in_listmonk(
            engine,
            *(view(number, event_timestamp=at[number]) for number in range(4)),
            *(click(f"click {number}", event_timestamp=at[number]) for number in range(2)),
            click("unsubscribe", uncounted="unsubscribe_link"),
            click("no address", engagement_context=None),
        )
        listmonk.view(native, 7, 12, at[2])  # also reported by Azure, before
        with engine.begin() as conn:
            Results().watch_native(conn)
        views, clicks = native.execute(_IN_LISTMONK).fetchone() or (0, 0)
    with engine.begin() as conn:
        found = stats(conn)[7]
        reasons = {event.event_id: event.uncounted for event in stream_events(conn, campaign=7)}
    engine.dispose()
    assert [event for event, reason in reasons.items() if reason == "native"] == ["view 2", "click 1", "view 1"]
    assert (found["opens"], found["clicks"], found["unsubscribe_clicks"]) == (4, 2, 1)
    assert (views, clicks) == (found["opens"] + 1, found["clicks"])
