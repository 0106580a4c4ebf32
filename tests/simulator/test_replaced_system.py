"""The seeded accident: its numbers are those of the real one, and the replaced system's rule explains every row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from simulator import replaced_system
from simulator.accident import NEW, OLD, SMALL, Size
from tests.databases import DatabaseServer

TABLES = (
    "azure_message_tracking",
    "azure_engagement_events",
    "azure_delivery_events",
    "campaign_views",
    "link_clicks",
    "bounces",
    "webhook_logs",
)


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        yield connection


def rows(connection: psycopg.Connection[Any], query: str) -> list[Any]:
    return connection.execute(query.encode()).fetchall()


def test_in_its_true_size_it_has_the_numbers_of_the_real_one(connection: psycopg.Connection[Any]) -> None:
    accident = replaced_system.install(connection, Size())
    assert accident.views == {OLD: 158, NEW: 54}
    assert accident.clicks == {OLD: 23, NEW: 9}
    assert rows(
        connection,
        "SELECT count(*), count(internet_message_id) FROM azure_message_tracking WHERE campaign_id = 65",
    ) == [(8209, 86)]
    assert rows(connection, "SELECT status FROM campaigns WHERE id IN (64, 65) ORDER BY id") == [
        ("cancelled",),
        ("running",),
    ]
    # 146 opens and 20 clicks of campaign 65 are counted in 64; three opens had no campaign, and are counted nowhere.
    assert accident.true_views == {OLD: 158 - 146, NEW: 54 + 146 + 3}
    assert accident.true_clicks == {OLD: 23 - 20, NEW: 9 + 20}


def test_what_it_says_is_counted_is_what_the_tables_hold(connection: psycopg.Connection[Any]) -> None:
    accident = replaced_system.install(connection)
    for table, counts in (
        ("campaign_views", accident.views),
        ("link_clicks", accident.clicks),
        ("bounces", accident.bounces),
    ):
        assert Counter(dict(rows(connection, f"SELECT campaign_id, count(*) FROM {table} GROUP BY 1"))) == counts
    assert rows(connection, "SELECT count(*) FROM azure_engagement_events") == [(len(accident.engagements),)]
    assert rows(connection, "SELECT count(*) FROM azure_delivery_events") == [(len(accident.deliveries),)]


def test_every_event_is_credited_by_the_rule_of_the_replaced_system(connection: psycopg.Connection[Any]) -> None:
    """The reader's most recently updated campaign, whichever the mail was of; no id of an event names a mail."""
    replaced_system.install(connection)
    for table in ("azure_engagement_events", "azure_delivery_events"):
        assert (
            rows(
                connection,
                f"SELECT e.id FROM {table} AS e WHERE e.campaign_id <> ("
                " SELECT c.id FROM azure_message_tracking AS t JOIN campaigns AS c ON c.id = t.campaign_id"
                " WHERE t.subscriber_id = e.subscriber_id ORDER BY c.updated_at DESC LIMIT 1)",
            )
            == []
        )
        assert (
            rows(connection, f"SELECT e.id FROM {table} AS e JOIN azure_message_tracking AS t USING (azure_message_id)")
            == []
        )


def test_each_mail_was_sent_with_the_id_made_up_for_it_and_its_report_names_it(
    connection: psycopg.Connection[Any],
) -> None:
    replaced_system.install(connection)
    reported = set()
    for (body,) in rows(connection, "SELECT request_body FROM webhook_logs WHERE event_type LIKE '%Delivery%'"):
        try:
            reported |= {event["data"]["internetMessageId"] for event in json.loads(body)}
        except ValueError:
            continue  # some bodies are cut off, as such logs are
    sent = rows(
        connection, "SELECT '<' || azure_message_id || '@listmonk>' FROM azure_message_tracking WHERE campaign_id = 65"
    )
    assert reported == {message for (message,) in sent}
    assert len(reported) == SMALL.mails


def test_the_same_seed_makes_the_same_accident_and_another_one_another(database_server: DatabaseServer) -> None:
    dumps = []
    for seed in (1, 1, 2):
        url = database_server.create()
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                replaced_system.install(connection, seed=seed)
                dumps.append([rows(connection, f"SELECT t::text FROM {table} AS t ORDER BY id") for table in TABLES])
        finally:
            database_server.drop(url)
    assert dumps[0] == dumps[1] != dumps[2]
