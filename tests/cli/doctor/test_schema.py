"""Tables as they should not be, ours and listmonk's: each fault is made in a real database, and found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from db.counting import count_changes
from db.engine import create_engine
from db.migrate import MIGRATIONS, upgrade
from db.reporting import campaign_stats
from db.tables import VERSION_TABLE
from tests.cli.doctor.conftest import Diagnose
from tests.databases import DatabaseServer
from tests.migrations.conftest import MakeDatabase
from tests.migrations.conftest import old_database as old_database
from tests.pages import read, section

HEAD = ScriptDirectory(str(MIGRATIONS)).get_current_head()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def role(database_server: DatabaseServer) -> Iterator[str]:
    """A role that may log in and nothing else."""
    name = f"doctor_{database_server.run}"
    with closing(psycopg.connect(database_server.url, autocommit=True)) as orders:
        orders.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'word'".encode())
        yield name


def forget(url: str, role: str) -> None:
    run(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:word@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.mark.parametrize("fixture", ["database_url", "listmonk_database_url"])
def test_what_the_migration_made_is_in_order(fixture: str, request: pytest.FixtureRequest, diagnose: Diagnose) -> None:
    url = request.getfixturevalue(fixture)
    diagnosis = diagnose(only=("schema", "listmonk"), database_url=url)
    assert {found["level"] for found in diagnosis.document["findings"]} == {"ok"}
    words = "This is listmonk's database, with its" if "listmonk" in fixture else "This is not listmonk's database"
    assert words in diagnosis.one("listmonk-tables")[1]


@pytest.mark.parametrize("version", ["v6.1", "v7.2"])
def test_tables_taken_over_from_the_replaced_system_are_in_order(
    version: str, old_database: MakeDatabase, diagnose: Diagnose
) -> None:
    url = old_database(version, listmonk=True)
    upgrade(url)
    diagnosis = diagnose(only=("schema", "listmonk"), database_url=url)
    assert [check for check, _, _ in diagnosis.bad()] == ["listmonk-tables"], "it has but two of listmonk's tables"
    run(url, "ALTER TABLE azure_message_tracking DISABLE TRIGGER attribution_foreign_tracking")
    found = diagnose(only="schema-triggers", database_url=url).one("schema-triggers")
    assert found[1].startswith("The trigger attribution_foreign_tracking on azure_message_tracking is switched off")


def test_a_database_that_was_never_migrated_is_found_once(empty_database_url: str, diagnose: Diagnose) -> None:
    diagnosis = diagnose(only=("database-reachable", "schema"), database_url=empty_database_url)
    assert diagnosis.one("schema-migrated")[:2] == (
        "failure",
        f"The database was never migrated, and this release needs {HEAD}.",
    )
    others = [found for found in diagnosis.document["findings"] if found["check"].startswith("schema")][1:]
    assert {(found["level"], found["sentence"]) for found in others} == {("skipped", "the database was never migrated")}


@pytest.mark.parametrize(
    ("revision", "level", "words"),
    [("0002", "failure", f"is at revision 0002, and this release needs {HEAD}."), ("9999", "hint", "newer release")],
    ids=["older", "newer"],
)
def test_another_releases_schema_is_found(
    revision: str, level: str, words: str, database_url: str, diagnose: Diagnose
) -> None:
    run(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")
    diagnosis = diagnose(only="schema", database_url=database_url)
    found = diagnosis.one("schema-migrated")
    assert found[0] == level
    assert words in found[1]
    assert diagnosis.one("schema-complete")[:2] == ("skipped", "the database is at another release's schema")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE attribution_archive", "attribution_archive is not there, though the database was migrated"),
        ("ALTER TABLE attribution_webhooks DROP COLUMN failure", "column failure of attribution_webhooks"),
        ("DROP INDEX attribution_tallies_counted", "index attribution_tallies_counted"),
        (
            "ALTER TABLE azure_engagement_events DROP CONSTRAINT azure_engagement_events_event_key_key",
            "unique key azure_engagement_events_event_key_key is missing",
        ),
    ],
    ids=["table", "column", "index", "unique-key"],
)
def test_what_somebody_has_dropped_is_found(statement: str, words: str, database_url: str, diagnose: Diagnose) -> None:
    run(database_url, statement)
    diagnosis = diagnose(only="schema-complete", database_url=database_url)
    level, sentence, fix = diagnosis.one("schema-complete")
    assert level == "failure"
    assert words in sentence
    assert fix
    assert diagnosis.exit_code == 1


def test_an_index_whose_building_was_broken_off_is_found(database_url: str, diagnose: Diagnose) -> None:
    run(database_url, "INSERT INTO attribution_runs (kind, parameters) VALUES ('replay', '{}'), ('replay', '{}')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        run(database_url, "CREATE UNIQUE INDEX CONCURRENTLY broken_off ON attribution_runs (kind)")
    level, sentence, fix = diagnose(only="schema-indexes", database_url=database_url).one("schema-indexes")
    assert level == "failure"
    assert sentence.startswith("broken_off is invalid")
    assert fix == "REINDEX INDEX CONCURRENTLY broken_off;"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "ALTER TABLE azure_engagement_events DISABLE TRIGGER attribution_counts_insert",
            "attribution_counts_insert on azure_engagement_events is switched off",
        ),
        (
            "DROP TRIGGER attribution_counts_delete ON azure_message_tracking",
            "attribution_counts_delete on azure_message_tracking is not there",
        ),
    ],
    ids=["off", "gone"],
)
def test_a_trigger_that_is_off_or_gone_is_found(
    statement: str, words: str, database_url: str, diagnose: Diagnose
) -> None:
    run(database_url, statement)
    level, sentence, fix = diagnose(only="schema-triggers", database_url=database_url).one("schema-triggers")
    assert level == "failure"
    assert words in sentence
    assert "recount" in fix


def test_a_role_that_may_not_do_its_work_is_told_what_it_lacks(
    database_url: str, role: str, diagnose: Diagnose
) -> None:
    try:
        run(
            database_url,
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE UPDATE, DELETE ON azure_engagement_events FROM {role}",
            "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$",
        )
        diagnosis = diagnose(only="schema-privileges", database_url=as_role(database_url, role))
        lacking, temporary = diagnosis.of("schema-privileges")
        assert lacking[:2] == (
            "failure",
            "The role of ATTRIBUTION_DATABASE_URL lacks DELETE, UPDATE on azure_engagement_events: batches that need it"
            " fail, and wait on the stream.",
        )
        assert "GRANT DELETE, UPDATE ON azure_engagement_events" in lacking[2]
        assert temporary[0] == "failure"
        assert "may not make temporary tables" in temporary[1]
        assert role not in diagnosis.text
        run(
            database_url,
            f"GRANT UPDATE, DELETE ON azure_engagement_events TO {role}",
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$",
        )
        cured = diagnose(only="schema-privileges", database_url=as_role(database_url, role))
        assert cured.one("schema-privileges")[0] == "ok", "the cure cures"
    finally:
        forget(database_url, role)


def test_a_role_that_may_not_write_listmonks_tables_is_told_so(
    listmonk_database_url: str, role: str, diagnose: Diagnose
) -> None:
    try:
        run(
            listmonk_database_url,
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE INSERT ON campaign_views FROM {role}",
            f"REVOKE USAGE ON SEQUENCE bounces_id_seq FROM {role}",
        )
        url = as_role(listmonk_database_url, role)
        level, sentence, _ = diagnose(only="listmonk-privileges", database_url=url).one("listmonk-privileges")
        assert level == "failure"
        assert "INSERT on campaign_views" in sentence
        assert "USAGE on its sequence on bounces" in sentence
    finally:
        forget(listmonk_database_url, role)


@pytest.mark.parametrize(
    ("statements", "check", "level", "words"),
    [
        (
            ["ALTER TABLE campaign_views RENAME COLUMN created_at TO seen_at"],
            "listmonk-tables", "warning", "its tables for views are not as we know them",
        ),
        (
            ["UPDATE settings SET value = 'true' WHERE key = 'privacy.disable_tracking'"],
            "listmonk-tables", "hint", "not written into its tables",
        ),
        (
            ["UPDATE settings SET value = 'false' WHERE key = 'privacy.individual_tracking'"],
            "listmonk-tables", "hint", "without their subscriber",
        ),
        (
            ["ALTER TABLE azure_engagement_events DROP CONSTRAINT azure_engagement_events_campaign_id_fkey"],
            "listmonk-keys", "failure", "The foreign key on campaign_id of azure_engagement_events is gone",
        ),
        (
            [
                "ALTER TABLE azure_delivery_events DROP CONSTRAINT azure_delivery_events_subscriber_id_fkey",
                "ALTER TABLE azure_delivery_events ADD FOREIGN KEY (subscriber_id) REFERENCES subscribers (id)"
                " ON DELETE CASCADE NOT VALID",
            ],
            "listmonk-keys", "hint", "subscriber_id of azure_delivery_events holds for new rows alone",
        ),
    ],
    ids=["columns", "untracked", "nameless", "no-key", "unchecked-key"],
)  # fmt: skip
def test_a_listmonk_that_does_not_fit_is_found(
    statements: list[str], check: str, level: str, words: str, listmonk_database_url: str, diagnose: Diagnose
) -> None:
    run(listmonk_database_url, *statements)
    found = diagnose(only=check, database_url=listmonk_database_url).of(check)
    assert [each[0] for each in found if words in each[1]] == [level]


def test_listmonks_version_is_told(listmonk_database_url: str, diagnose: Diagnose) -> None:
    run(
        listmonk_database_url,
        """INSERT INTO settings (key, value) VALUES ('migrations', '["v4.1.0", "v5.0.3"]')""",
    )
    found = diagnose(only="listmonk-tables", database_url=listmonk_database_url).one("listmonk-tables")
    assert found[:2] == (
        "ok",
        "This is listmonk's database (v5.0.3), with its tables for views, clicks and bounces.",
    )


def test_the_recount_that_the_page_shows_puts_right_what_no_trigger_told(database_url: str) -> None:
    page = read("docs/doctor.md")
    (recount,) = re.findall(r"```sql\n(.*?)```", section(page, "Recounting"), re.DOTALL)
    run(
        database_url,
        "ALTER TABLE azure_message_tracking DISABLE TRIGGER attribution_counts_insert",
        "INSERT INTO azure_message_tracking (campaign_id, internet_message_id, tracked_via) VALUES (7, '<m@a>',"
        " 'http')",
        "ALTER TABLE azure_message_tracking ENABLE TRIGGER attribution_counts_insert",
    )
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as conn:
        assert list(campaign_stats(conn, campaigns=None, since=None)) == []
    run(database_url, recount)
    while (counted := count_changes(engine)).changes or counted.recounts:
        pass
    with engine.connect() as conn:
        assert [(row.campaign_id, row.sent) for row in campaign_stats(conn, campaigns=None, since=None)] == [(7, 1)]
