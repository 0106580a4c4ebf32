"""What each column of a campaign's numbers counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from tests.db.reporting.facts import HOUR, NO_COUNTS, START, act, delivery, sent, stats
from tests.db.rows import azure_id


def test_nothing_is_known_of_an_empty_database(conn: Connection) -> None:
    assert stats(conn) == {}
    assert stats(conn, since=START) == {}


def test_sends_reports_and_acts_of_a_campaign_do_not_multiply_each_other(conn: Connection) -> None:
    for number in range(5):
        sent(conn, 7, f"<m{number}@example.com>", subscriber_id=number + 1)
    for number in range(3):
        delivery(conn, "Delivered", 7, subscriber_id=number + 1)
    for _ in range(4):
        act(conn, "view", 7, subscriber_id=1)
    act(conn, "click", 7, subscriber_id=1)
    act(conn, "click", 7, subscriber_id=2)
    assert stats(conn)[7] == NO_COUNTS | {
        "sent": 5,
        "delivered": 3,
        "opens": 4,
        "unique_opens": 1,
        "clicks": 2,
        "unique_clicks": 2,
        "first_event_at": START,
        "last_event_at": START,
        "population_rate": 1,
    }


def test_a_campaign_is_listed_whichever_side_alone_knows_it(conn: Connection) -> None:
    sent(conn, 1, "<m1@example.com>")
    delivery(conn, "Delivered", 2)
    act(conn, "view", 3, subscriber_id=1)
    found = stats(conn)
    assert found[1] == NO_COUNTS | {"sent": 1, "population_rate": 1}
    times = {"first_event_at": START, "last_event_at": START}
    assert found[2] == NO_COUNTS | times | {"delivered": 1}
    assert found[3] == NO_COUNTS | times | {"opens": 1, "unique_opens": 1}


def test_bounces_are_counted_by_type_and_other_statuses_are_neither_bounced_nor_delivered(conn: Connection) -> None:
    for bounce_type in ("hard", "hard", "soft", "complaint"):
        delivery(conn, "Bounced", 1, bounce_type=bounce_type)
    delivery(conn, "Expanded", 1)
    delivery(conn, "hard", 1)  # Azure's word for something, some day; not our type
    found = stats(conn)[1]
    assert (found["bounced_hard"], found["bounced_soft"], found["bounced_complaint"]) == (2, 1, 1)
    assert found["delivered"] == 0


def test_people_are_subscribers_and_where_none_is_known_the_readers_of_one_mail(conn: Connection) -> None:
    act(conn, "view", 1, subscriber_id=5, internet_message_id="<a@example.com>")
    act(conn, "view", 1, subscriber_id=5, internet_message_id="<b@example.com>")
    act(conn, "view", 1, internet_message_id="<c@example.com>")
    act(conn, "view", 1, internet_message_id="<c@example.com>")
    act(conn, "view", 1, internet_message_id="<C@example.com>")
    act(conn, "view", 1, azure_message_id=azure_id(1))
    assert stats(conn)[1]["opens"] == 6
    assert stats(conn)[1]["unique_opens"] == 4


@pytest.mark.parametrize(
    ("uncounted", "counts"),
    [
        (None, (1, 1, 0)),
        ("native", (1, 1, 0)),
        ("unsubscribe_link", (0, 0, 1)),
        ("tracking_disabled", (0, 0, 0)),
        ("campaign_deleted", (0, 0, 0)),
        ("unknown_type", (0, 0, 0)),
    ],
)
def test_a_click_counts_once_unless_something_said_it_does_not(
    conn: Connection, uncounted: str | None, counts: tuple[int, int, int]
) -> None:
    act(conn, "click", 1, subscriber_id=5, uncounted=uncounted)
    found = stats(conn)[1]
    assert (found["clicks"], found["unique_clicks"], found["unsubscribe_clicks"]) == counts
    assert found["first_event_at"] == START  # it happened, whether it counts or not


def test_parked_counts_the_events_that_had_waited_before_they_were_attributed(conn: Connection) -> None:
    act(conn, "view", 1)
    act(conn, "view", 1, attributed_at=START + timedelta(microseconds=1))
    act(conn, "view", 1, attributed_at=None, matched_by="replaced_system")
    delivery(conn, "Delivered", 1, attributed_at=START + HOUR)
    act(conn, "view", None, state="parked", matched_by=None, attributed_at=None)
    assert stats(conn)[1]["parked"] == 2


def test_the_population_rate_is_the_share_of_messages_whose_message_id_is_known(conn: Connection) -> None:
    sent(conn, 1, "<m@example.com>")
    for number in range(2):
        sent(conn, 1, None, azure_message_id=azure_id(number))
    assert stats(conn)[1]["sent"] == 3
    assert float(stats(conn)[1]["population_rate"]) == 0.3333


def test_a_message_counts_since_it_was_sent_or_written_if_nobody_said_when(conn: Connection) -> None:
    sent(conn, 1, "<a@example.com>", sent_at=START - HOUR)
    sent(conn, 1, "<b@example.com>", sent_at=START)
    sent(conn, 1, "<c@example.com>", sent_at=None, created_at=START)
    sent(conn, 1, "<d@example.com>", sent_at=None, created_at=None)
    assert stats(conn)[1]["sent"] == 4
    assert stats(conn, since=START)[1]["sent"] == 2
