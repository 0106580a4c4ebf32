"""The figures of each campaign, from rows of the database and the mailer's own count."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import LiteralString

from simulator import listmonk, oracle
from simulator.campaigns import Figures, InListmonk, figures_by_campaign, listmonk_by_campaign
from simulator.truth import BOTH, Emitted, Sent, Truth

AT = datetime(2026, 1, 10, tzinfo=UTC)
ENGAGEMENT: LiteralString = (
    "INSERT INTO azure_engagement_events"
    " (event_id, engagement_type, state, campaign_id, internet_message_id, azure_message_id, event_timestamp)"
    " VALUES (%s, %s, %s, %s, %s, gen_random_uuid(), now())"
)
DELIVERY: LiteralString = ENGAGEMENT.replace("engagement_type", "status").replace("engagement", "delivery")


def test_figures_are_the_databases_but_for_what_was_sent(database_url: str) -> None:
    truth = Truth.of(
        [
            *(Sent(f"<{n}@example.com>", str(n), 41 if n < 3 else 42, n, ("ada@example.net",), AT) for n in range(5)),
            *(Emitted(f"e{n}", "followed", "view", f"<{n % 5}@example.com>", BOTH, AT) for n in range(10)),
        ]
    )
    with oracle.connect(database_url) as connection:
        for event_id, what, state, campaign_id, message_id in [
            ("e0", "view", "attributed", 41, "<0@example.com>"),
            ("e5", "view", "attributed", 41, None),
            ("e1", "click", "attributed", 41, "<1@example.com>"),
            ("e3", "view", "parked", None, "<3@example.com>"),
            ("a stranger", "view", "attributed", 41, "<9@example.com>"),
        ]:
            connection.execute(ENGAGEMENT, (event_id, what, state, campaign_id, message_id))
        for event_id, what, state, campaign_id in [
            ("e2", "Delivered", "attributed", 41),
            ("e4", "Bounced", "attributed", 42),
            ("e9", "Delivered", "expired", None),
        ]:
            connection.execute(DELIVERY, (event_id, what, state, campaign_id, "<2@example.com>"))
        figures = figures_by_campaign(truth, connection)
    assert figures == {
        41: Figures(sent=3, delivered=1, opens=2, clicks=1, events=4, with_message_id=3),
        42: Figures(sent=2, other_reports=1, parked=2, events=3, with_message_id=3),
    }
    assert figures[41].population_rate == 0.75
    assert Figures().population_rate == 0.0


def test_figures_of_listmonk_tell_its_own_rows_from_ours(listmonk_database_url: str) -> None:
    with oracle.connect(listmonk_database_url) as connection:
        link = listmonk.link(connection, "https://www.example.com/offer")
        native = listmonk.view(connection, 41, 12)
        listmonk.view(connection, 42, 12)
        listmonk.click(connection, 41, 12, link)
        connection.execute("INSERT INTO campaign_views (id, campaign_id) VALUES (-1, 41), (-2, 41)")
        connection.execute("INSERT INTO link_clicks (id, campaign_id, link_id) VALUES (-3, 41, %s)", (link,))
        connection.execute("INSERT INTO bounces (campaign_id, subscriber_id, source) VALUES (42, 12, 'azure')")
        connection.execute(
            "INSERT INTO azure_engagement_events"
            " (event_id, engagement_type, state, campaign_id, event_timestamp, azure_message_id, uncounted, native_id)"
            " VALUES ('e', 'view', 'attributed', 41, now(), gen_random_uuid(), 'native', %s)",
            (native,),
        )
        assert listmonk_by_campaign(connection) == {
            41: InListmonk(native_views=1, our_views=2, native_clicks=1, our_clicks=1, seen_by_both=1),
            42: InListmonk(native_views=1, bounces=1),
        }
