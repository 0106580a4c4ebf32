"""In listmonk's database: rows go with their campaign and their subscriber, as listmonk's own do."""

from __future__ import annotations

import pytest

from db.migrate import upgrade
from simulator import listmonk as fake
from tests.migrations.catalogue import schema
from tests.migrations.conftest import MakeDatabase, connect
from tests.migrations.replaced_system import DELIVERY, ENGAGEMENT, TABLES, contents


@pytest.mark.parametrize("version", ["none", "v6.1", "v7.2"])
def test_deleting_a_campaign_or_a_subscriber_deletes_its_rows(old_database: MakeDatabase, version: str) -> None:
    url = old_database(version, listmonk=True)
    upgrade(url)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id, tracked_via)"
            " VALUES ('<a@example.net>', 8, 50, 'http'), ('<b@example.net>', 9, 51, 'http')"
        )
        for table, kind in ((ENGAGEMENT, "engagement_type"), (DELIVERY, "status")):
            connection.execute(
                f"INSERT INTO {table} ({kind}, event_timestamp, campaign_id, subscriber_id, state)"
                " VALUES ('x', now(), 8, 50, 'attributed'), ('x', now(), 9, 51, 'attributed')".encode()
            )
        before = contents(connection, *TABLES)
        connection.execute("DELETE FROM campaigns WHERE id = 8")
        connection.execute("DELETE FROM subscribers WHERE id = 51")
        after = contents(connection, *TABLES)
    for table in TABLES:
        gone = [row["campaign_id"] for number, row in before[table].items() if number not in after[table]]
        assert gone == [8, 9]


def test_every_foreign_key_has_an_index_to_find_its_rows_by(old_database: MakeDatabase) -> None:
    """Without one, each subscriber that listmonk deletes would read three tables from end to end."""
    url = old_database("v7.2", listmonk=True)
    upgrade(url)
    with connect(url) as connection:
        indexes = schema(connection)["indexes"]
    for table in TABLES:
        for column in ("campaign_id", "subscriber_id"):
            assert [text for text in indexes.values() if text.endswith(f" public.{table} USING btree ({column})")]
    # The replaced system had one already.
    assert "azure_message_tracking_campaign" not in indexes


def test_rows_that_point_nowhere_are_kept_and_reported(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=False)  # tables without foreign keys, moved into listmonk's database
    with connect(url) as connection:
        connection.execute(
            "CREATE TABLE campaigns (id serial PRIMARY KEY, uuid uuid);"
            " CREATE TABLE subscribers (id serial PRIMARY KEY, uuid uuid);"
            " INSERT INTO campaigns SELECT FROM generate_series(1, 3);"
            " INSERT INTO subscribers SELECT FROM generate_series(1, 99)"
        )
        before = {table: list(rows) for table, rows in contents(connection, *TABLES).items()}
    sentences: list[str] = []
    upgrade(url, report=sentences.append)
    with connect(url) as connection:
        assert {table: list(rows) for table, rows in contents(connection, *TABLES).items()} == before
        constraints = schema(connection)["constraints"]
    for table in TABLES:
        assert constraints[f"{table} {table}_campaign_id_fkey"].endswith("ON DELETE CASCADE NOT VALID")
        assert constraints[f"{table} {table}_subscriber_id_fkey"].endswith("ON DELETE CASCADE")
        assert (
            f"{table} has rows whose campaign_id is not in campaigns. They stay, and {table}_campaign_id_fkey stays NOT"
            " VALID: it holds for new rows alone" in sentences
        )


def test_foreign_key_that_would_unset_the_campaign_is_replaced(old_database: MakeDatabase) -> None:
    """It would leave an attributed event without a campaign, which is forbidden: the campaign could not be deleted."""
    url = old_database("v6.2", listmonk=True)
    with connect(url) as connection:
        connection.execute(
            "ALTER TABLE azure_engagement_events DROP CONSTRAINT azure_engagement_events_campaign_id_fkey,"
            " ADD CONSTRAINT odd FOREIGN KEY (campaign_id) REFERENCES campaigns (id) ON DELETE SET NULL"
        )
    upgrade(url)
    with connect(url) as connection:
        connection.execute("DELETE FROM campaigns WHERE id = 3")
        assert "azure_engagement_events odd" not in schema(connection)["constraints"]
        assert 3 not in contents(connection, ENGAGEMENT)[ENGAGEMENT]


def test_tables_of_another_mailer_are_not_taken_for_listmonks(empty_database_url: str) -> None:
    with connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE campaigns (id uuid PRIMARY KEY)")
        connection.execute("CREATE TABLE subscribers (id serial PRIMARY KEY, uuid uuid)")
    upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        assert not [
            text
            for text in schema(connection)["constraints"].values()
            if "FOREIGN KEY" in text and "REFERENCES attribution_" not in text
        ]


def test_ids_of_events_begin_behind_what_an_installation_that_is_gone_has_counted(empty_database_url: str) -> None:
    with connect(empty_database_url) as connection:
        fake.install(connection, campaigns=1)
        connection.execute("INSERT INTO campaign_views (id, campaign_id) VALUES (-40, 1), (7, 1)")
        connection.execute("INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), 'https://www.example.com')")
        connection.execute("INSERT INTO link_clicks (id, campaign_id, link_id) VALUES (-41, 1, 1)")
    upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        event = connection.execute(
            "INSERT INTO azure_engagement_events (engagement_type, event_timestamp, state)"
            " VALUES ('view', now(), 'parked') RETURNING id"
        ).fetchone()
        assert event == (42,)
