"""How well the clicks are proven, and by which key the events were attributed."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from db.reporting import count_alike, count_by_key, list_disagreements, measure_accuracy
from tests.db.reporting.facts import HOUR, START, act, delivery, sent, stats
from tests.db.rows import azure_id


def accuracy(conn: Connection, **given: Any) -> tuple[int, int, int, int]:
    found = measure_accuracy(conn, **given)
    return found.clicks, found.two_keys, found.agreeing, found.disagreeing


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({}, None),
        ({"link_campaign_id": 1}, True),
        ({"link_campaign_id": 1, "link_subscriber_id": 5}, True),
        ({"link_campaign_id": 1, "link_subscriber_id": 6}, False),
        ({"link_campaign_id": 2}, False),
        ({"link_campaign_id": 2, "link_subscriber_id": 5}, False),
        ({"link_campaign_id": 1, "matched_by": "azure_message_id"}, True),
        ({"link_campaign_id": 1, "matched_by": "delivery_report"}, True),
        ({"link_campaign_id": 1, "matched_by": "header"}, True),
        ({"link_campaign_id": 1, "matched_by": "replaced_system"}, None),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<nobody@example.com>"}, None),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<one@example.com>"}, True),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<two@example.com>"}, False),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<person@example.com>"}, False),
        ({"link_campaign_id": 1, "matched_by": "link", "azure_message_id": azure_id(1)}, True),
        ({"link_campaign_id": 1, "matched_by": "link", "azure_message_id": UUID(int=7)}, None),
    ],
)
def test_two_keys_of_a_click_agree_disagree_or_are_one(
    conn: Connection, columns: dict[str, Any], verdict: bool | None
) -> None:
    sent(conn, 1, "<one@example.com>", azure_message_id=azure_id(1))
    sent(conn, 2, "<two@example.com>", azure_message_id=azure_id(2))
    sent(conn, 1, "<person@example.com>", subscriber_id=6)
    act(conn, "click", 1, subscriber_id=5, **columns)
    assert accuracy(conn) == (1, verdict is not None, verdict is True, verdict is False)


def test_acts_alike_but_for_their_event_id_are_counted_and_those_that_differ_in_anything_are_not(
    conn: Connection,
) -> None:
    told = {"internet_message_id": "<m@example.com>", "engagement_context": "https://example.com/", "user_agent": "A"}
    ids = (f"e{number}" for number in itertools.count())
    for _ in range(3):
        act(conn, "click", 1, event_id=next(ids), **told)
    assert count_alike(conn) == 2
    for column, value in (
        ("internet_message_id", "<other@example.com>"),
        ("azure_message_id", azure_id(1)),
        ("engagement_context", "https://example.com/2"),
        ("user_agent", "B"),
        ("event_timestamp", START + timedelta(microseconds=1)),
    ):
        act(conn, "click", 1, event_id=next(ids), **(told | {column: value}))
    act(conn, "view", 1, event_id=next(ids), **told)
    for _ in range(2):
        act(conn, "click", 1, event_id=next(ids))  # of which message, nobody knows
    assert count_alike(conn) == 2
    assert count_alike(conn, since=START + HOUR) == 0
    assert stats(conn)[1]["clicks"] == 10


def test_only_the_clicks_that_the_results_count_are_judged(conn: Connection) -> None:
    act(conn, "click", 1, link_campaign_id=1)
    act(conn, "click", 1, link_campaign_id=1, uncounted="native", event_timestamp=START + HOUR)
    act(conn, "click", 1, uncounted="unsubscribe_link")
    act(conn, "view", 1, link_campaign_id=1)
    act(conn, "click", None, state="parked", matched_by=None, attributed_at=None)
    assert accuracy(conn) == (2, 2, 2, 0)
    assert accuracy(conn, since=START + HOUR) == (1, 1, 1, 0)
    assert stats(conn)[1]["clicks"] == 2


def test_disagreements_are_listed_newest_first_with_both_sides(conn: Connection) -> None:
    for number in (1, 2, 3):
        act(conn, "click", 64, event_id=f"e{number}", event_timestamp=START + number * HOUR)
        conn.execute(
            text(
                "INSERT INTO attribution_incidents (kind, subject_id, details)"
                " SELECT 'keys_disagree', max(id), jsonb_build_object('message', jsonb_build_object('campaign_id', 64,"
                " 'subscriber_id', 1), 'link', jsonb_build_object('campaign_id', 65, 'subscriber_id', NULL))"
                " FROM azure_engagement_events"
            )
        )
    conn.execute(text("INSERT INTO attribution_incidents VALUES (99, 'message_id_replaced', 1, '{}')"))
    newest, second = list_disagreements(conn, limit=2)
    assert (newest.event_id, second.event_id) == ("e3", "e2")
    assert (newest.message_campaign_id, newest.message_subscriber_id) == (64, 1)
    assert (newest.link_campaign_id, newest.link_subscriber_id) == (65, None)
    assert [row.event_id for row in list_disagreements(conn, limit=9, since=START + 2 * HOUR)] == ["e3", "e2"]


def test_every_event_is_counted_under_one_key_or_as_waiting(conn: Connection) -> None:
    act(conn, "click", 1, matched_by="link")
    act(conn, "view", 1)
    act(conn, "view", 1, event_timestamp=START - HOUR)
    delivery(conn, "Delivered", 1)
    delivery(conn, "Delivered", None, state="expired", matched_by=None, attributed_at=None)
    act(conn, "view", None, state="parked", matched_by=None, attributed_at=None)
    rows = [
        ("attributed", "internet_message_id", 2, 1),
        ("attributed", "link", 1, 0),
        ("parked", None, 1, 0),
        ("expired", None, 0, 1),
    ]
    assert [tuple(row) for row in count_by_key(conn)] == rows
    rows[0] = ("attributed", "internet_message_id", 1, 1)
    assert [tuple(row) for row in count_by_key(conn, since=START)] == rows
