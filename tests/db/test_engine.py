"""What every connection of ours brings along, and what its errors keep to themselves."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from db.engine import create_engine, describe_error
from db.errors import Fault, fault_of, sqlstate_of

PERSON = "someone@example.com"

_QUARANTINE = "attribution_quarantine (content_key, kind, reason, body)"
_TRACKING = "azure_message_tracking (internet_message_id, campaign_id)"


def _shown(url: str, name: str, **options: object) -> str:
    engine = create_engine(url, poolclass=sa.NullPool, **options)  # type: ignore[arg-type]
    with engine.connect() as connection:
        return str(connection.scalar(sa.text("SELECT current_setting(:name)"), {"name": name}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("application_name", "attribution"),
    ],
)
def test_session_has_the_limits_we_rely_on(database_url: str, name: str, value: str) -> None:
    assert _shown(database_url, name) == value


def test_statement_that_runs_too_long_is_ended(database_url: str) -> None:
    engine = create_engine(database_url, statement_timeout=timedelta(milliseconds=50), poolclass=sa.NullPool)
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError) as caught:
        connection.execute(sa.text("SELECT pg_sleep(10)"))
    assert fault_of(caught.value) is Fault.TRANSIENT


def test_migrations_may_run_for_as_long_as_they_need(database_url: str) -> None:
    assert _shown(database_url, "statement_timeout", statement_timeout=None) == "0"


def test_what_the_url_asks_for_wins(database_url: str) -> None:
    url = f"{database_url}?application_name=mine&options=-c%20lock_timeout%3D1s"
    assert _shown(url, "application_name") == "mine"
    assert _shown(url, "lock_timeout") == "1s"
    assert _shown(url, "statement_timeout") == "15s"


def test_dead_peer_is_noticed(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        asked = driver.info.get_parameters()
    assert asked["connect_timeout"] == "5"
    assert asked["tcp_user_timeout"] == "15000"
    assert (asked["keepalives_idle"], asked["keepalives_interval"], asked["keepalives_count"]) == ("10", "5", "3")


def test_connection_lost_in_the_pool_is_replaced_before_it_is_used(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        lost = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [lost])
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != lost
    engine.dispose()


#: A function that says no, and of whom.
_COMPLAINING = (
    "CREATE FUNCTION pg_temp.complain(value text) RETURNS void LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'I want nothing of %', value; END $$"
)


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        # The DETAIL of each of these repeats the row or the value.
        (f"INSERT INTO {_QUARANTINE} VALUES (NULL, 'event', :value, '')", "23502"),
        (f"INSERT INTO {_QUARANTINE} VALUES (gen_random_uuid(), :value, '', '')", "23514"),
        (f"INSERT INTO {_TRACKING} VALUES (:value, 1), (:value, 1)", "23505"),
        # And of this one, the message itself.
        ("SELECT CAST(CAST(:value AS text) AS uuid)", "22P02"),
        # And of this one, in whatever words the owner of a trigger has chosen.
        ("SELECT pg_temp.complain(:value)", "P0001"),
    ],
)
def test_error_says_what_is_wrong_and_nothing_of_whose_it_is(database_url: str, statement: str, sqlstate: str) -> None:
    engine = create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(_COMPLAINING))
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.execute(sa.text(statement), {"value": PERSON})
    assert sqlstate_of(caught.value) == sqlstate
    for said in (str(caught.value), repr(caught.value), str(caught.value.orig), repr(caught.value.orig)):
        assert PERSON not in said
        assert sqlstate in said


def test_error_of_psycopg_itself_can_be_told_without_the_data(database_url: str) -> None:
    """COPY goes past SQLAlchemy, whose errors are cleaned; its CONTEXT repeats the line that was wrong."""
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg.Error) as caught, cursor.copy("COPY attribution_quarantine (id) FROM STDIN") as copy:
            copy.write(f"{PERSON}\n")
        assert PERSON in str(caught.value)
        assert describe_error(caught.value) == "InvalidTextRepresentation (22P02)"


def test_password_is_in_no_error() -> None:
    for url in (
        "postgresql://user:s3cret-word@127.0.0.1:1/name",
        "postgresql://user:s3cret-word@127.0.0.1:99999/name",
        "postgresql://user:s3cret-word@[::1/name",
        "user:s3cret-word@127.0.0.1",
        "postgresql://user:s3cret-word@127.0.0.1:port/name",
        "postgresql://user:half-of-s3cret@s3cret-word@127.0.0.1/name",
        "postgresql://user:s3cret-word@127.0.0.1/name?nonsense=1",
    ):
        with pytest.raises((ValueError, sa.exc.DBAPIError)) as caught:
            create_engine(url, poolclass=sa.NullPool).connect()
        assert "s3cret" not in f"{caught.value!s} {caught.value!r}", url
        assert "s3cret" not in repr(getattr(caught.value, "orig", None)), url
