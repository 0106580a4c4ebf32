"""Over the replaced system's tables, whichever it has: every row kept, the schema of a fresh database reached."""

from __future__ import annotations

import psycopg
import pytest

from db.migrate import is_current, upgrade
from tests.migrations.catalogue import files, schema
from tests.migrations.conftest import MakeDatabase, connect
from tests.migrations.replaced_system import (
    DELIVERY,
    ENGAGEMENT,
    LONG_ID,
    OLD_EVENTS,
    OLD_TRACKING,
    TABLES,
    TRACKING,
    VERSIONS,
    azure_id,
    columns,
    contents,
)

surroundings = pytest.mark.parametrize("listmonk", [False, True], ids=["alone", "listmonk"])
versions = pytest.mark.parametrize("version", VERSIONS)

#: Columns of the replaced system that the migration may change: the spelling of ids, which tests of their own follow.
MAY_CHANGE = {"internet_message_id"}


@surroundings
@versions
def test_no_row_is_lost_and_the_schema_is_that_of_a_fresh_database(
    old_database: MakeDatabase, database_url: str, version: str, listmonk: bool
) -> None:
    url = old_database(version, listmonk=listmonk)
    with connect(url) as connection:
        before = contents(connection, *TABLES, "webhook_logs", "campaigns", "subscribers")
        old_columns = {table: set(columns(connection, table)) - MAY_CHANGE for table in before}
    upgrade(url)
    assert is_current(url)
    with connect(url) as connection:
        after = contents(connection, *TABLES, *before)
        reached = schema(connection)
    with connect(database_url) as connection:
        fresh = schema(connection)

    for table, rows in after.items():
        assert rows.keys() == before.get(table, {}).keys()
        for number, row in rows.items():
            kept = {name: row[name] for name in old_columns[table]}
            assert kept == {name: before[table][number][name] for name in old_columns[table]}

    assert reached["columns"] == fresh["columns"]
    assert reached["types"] == fresh["types"]
    assert fresh["constraints"].items() <= reached["constraints"].items()
    assert fresh["indexes"].items() <= reached["indexes"].items()
    keys = sorted(text for name, text in reached["constraints"].items() if name not in fresh["constraints"])
    campaign = "FOREIGN KEY (campaign_id) REFERENCES campaigns(id) ON DELETE CASCADE"
    subscriber = "FOREIGN KEY (subscriber_id) REFERENCES subscribers(id) ON DELETE CASCADE"
    assert keys == ([campaign] * 3 + [subscriber] * 3 if listmonk else [])


@surroundings
def test_ids_of_tracking_rows_are_kept_or_set_aside_by_the_rule(old_database: MakeDatabase, listmonk: bool) -> None:
    url = old_database("v7.2", listmonk=listmonk)
    upgrade(url)
    with connect(url) as connection:
        rows = contents(connection, TRACKING)[TRACKING]
    reached = {
        number: (row["internet_message_id"], row["set_aside_message_id"], row["tracked_via"], row["azure_message_id"])
        for number, row in rows.items()
    }
    assert reached == {row.number: (row.kept, row.set_aside, "imported", azure_id(row.number)) for row in OLD_TRACKING}


def test_report_names_rows_and_campaigns_but_no_address(old_database: MakeDatabase) -> None:
    sentences: list[str] = []
    upgrade(old_database("v7.2", listmonk=False), report=sentences.append)
    duplicates = [sentence for sentence in sentences if sentence.startswith("duplicate")]
    assert duplicates == [
        "duplicate internet_message_id on 3 rows of azure_message_tracking (10, 11, 12; campaigns 2):"
        " row 10 keeps it, see set_aside_message_id",
        "duplicate internet_message_id on 2 rows of azure_message_tracking (13, 14; campaigns 3, 4):"
        " they disagree, none keeps it, see set_aside_message_id",
        "duplicate internet_message_id on 2 rows of azure_message_tracking (15, 16; campaigns 5):"
        " they disagree, none keeps it, see set_aside_message_id",
    ]
    assert (
        "internet_message_id of 3 rows of azure_message_tracking (7, 8, 9) is no Message-ID: see set_aside_message_id"
        in sentences
    )
    assert not any("@" in sentence for sentence in sentences)


def test_events_with_a_campaign_are_attributed_and_the_others_are_parked(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)
    upgrade(url)
    with connect(url) as connection:
        for table in (ENGAGEMENT, DELIVERY):
            for number, _, campaign in OLD_EVENTS:
                state = connection.execute(
                    "SELECT state::text, matched_by::text, campaign_id, attributed_at, received_at, attempts,"
                    f" event_key, next_attempt_at <= now() FROM {table} WHERE id = %s".encode(),
                    [number],
                ).fetchone()
                if campaign:
                    assert state == ("attributed", "replaced_system", campaign, None, None, 0, None, None)
                else:
                    assert state == ("parked", None, None, None, None, 0, None, True)


def test_ids_of_events_are_respelt_and_impossible_ones_are_kept(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=False)
    upgrade(url)
    with connect(url) as connection:
        ids = dict(connection.execute(f"SELECT id, internet_message_id FROM {ENGAGEMENT}".encode()).fetchall())
        kept = connection.execute("SELECT kind, reason, detail, body FROM attribution_quarantine").fetchall()
    assert ids == {
        1: "<one@example.com>",
        2: "<two@example.com>",
        3: None,
        4: None,
        5: "not one",  # attributed already: it is never looked for, so it may stay
        6: "<WAITS@example.com>",
        7: None,
        8: None,
        9: None,
    }
    assert kept == [
        ("event", "message_id_invalid", "azure_engagement_events row 9", (LONG_ID * 20).encode()),
    ]


def test_parked_event_of_the_replaced_system_is_released_by_the_tracking_of_its_message(
    old_database: MakeDatabase,
) -> None:
    import sqlalchemy as sa

    from db.engine import create_engine
    from db.models import MessageIds
    from db.parking import release

    url = old_database("v7.2", listmonk=True)
    upgrade(url)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
            " VALUES ('<WAITS@example.com>', 6, 'http')"
        )
    with create_engine(url, poolclass=sa.NullPool).begin() as transaction:
        assert release(transaction, MessageIds(frozenset({"<WAITS@example.com>"}), frozenset())).events == 1
    with connect(url) as connection:
        row = contents(connection, ENGAGEMENT)[ENGAGEMENT][6]
    assert (row["state"], row["campaign_id"], row["matched_by"]) == ("attributed", 6, "internet_message_id")


def test_new_rows_go_in_with_every_column(old_database: MakeDatabase) -> None:
    url = old_database("v6.1", listmonk=True)
    upgrade(url)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
            " VALUES ('<new@example.com>', 1, 'stream')"
        )
        for table, kind in ((ENGAGEMENT, "engagement_type"), (DELIVERY, "status")):
            connection.execute(
                f"INSERT INTO {table} (internet_message_id, {kind}, event_timestamp, event_key, event_id, state,"
                " next_attempt_at) VALUES ('<new@example.com>', 'a kind of more than twenty characters', now(),"
                " gen_random_uuid(), 'e1', 'parked', now())".encode()
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "INSERT INTO azure_engagement_events (engagement_type, event_timestamp, state)"
                " VALUES ('view', now(), 'attributed')"
            )
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
                " VALUES ('<new@example.com>', 2, 'http')"
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO azure_message_tracking (campaign_id, tracked_via) VALUES (2, 'http')")


def test_nothing_is_rewritten(old_database: MakeDatabase) -> None:
    """A table or index written anew has everybody locked out for as long as that takes."""
    url = old_database("v7.2", listmonk=True)
    built = {}
    with connect(url) as connection:
        before = files(connection)

        def look_before_the_swap(sentence: str) -> None:
            if sentence in (
                "adding azure_message_tracking_internet_message_id_key",
                "changing the collation of azure_engagement_events",
            ):
                built.update(files(connection))

        upgrade(url, report=look_before_the_swap)
        after = files(connection)
    # Superseded by the unique index, and swapped for one built beside it, as the next two assertions say.
    superseded, swapped = (
        before.pop("idx_tracking_internet_message_id"),
        before.pop("idx_engagement_internet_message_id"),
    )
    assert superseded not in after.values()
    assert swapped != after["idx_engagement_internet_message_id"] == built["idx_engagement_internet_message_id_twin"]
    unique = "azure_message_tracking_internet_message_id_key"
    assert after[unique] == built[unique]
    assert before.items() <= after.items()
