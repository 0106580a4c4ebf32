"""Whose fault an error is decides what is done about it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from db.copying import copy_rows
from db.engine import create_engine
from db.errors import Fault, fault_of


@pytest.mark.parametrize(
    ("sqlstate", "fault"),
    [
        ("40001", Fault.TRANSIENT),  # serialization failure
        ("40P01", Fault.TRANSIENT),  # deadlock
        ("53300", Fault.TRANSIENT),  # too many connections
        ("55P03", Fault.TRANSIENT),  # lock not available
        ("57014", Fault.TRANSIENT),  # statement timeout
        ("57P01", Fault.TRANSIENT),  # the server shuts down
        ("25006", Fault.TRANSIENT),  # read-only
        ("23505", Fault.TRANSIENT),  # unique key lost to a concurrent writer
        ("23503", Fault.DATA),  # foreign key
        ("22P05", Fault.DATA),  # untranslatable character
        ("54000", Fault.DATA),  # index row too large
        ("42P01", Fault.OURS),  # no such table
        ("42601", Fault.OURS),  # syntax
    ],
)
def test_an_error_is_judged_by_its_sqlstate(engine: Engine, sqlstate: str, fault: Fault) -> None:
    with pytest.raises(DBAPIError) as raised, engine.begin() as conn:
        conn.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"))
    assert fault_of(raised.value) is fault


def test_a_server_that_is_away_passes_by_itself() -> None:
    with pytest.raises(OperationalError) as raised:
        create_engine("postgresql://nobody@127.0.0.1:1/none").connect()
    assert fault_of(raised.value) is Fault.TRANSIENT


def test_a_connection_that_was_cut_passes_by_itself(engine: Engine, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as killer, engine.connect() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(DBAPIError) as raised:
            conn.execute(text("SELECT 1"))
        assert fault_of(raised.value) is Fault.TRANSIENT


def test_text_that_utf_8_cannot_carry_is_the_datas_fault() -> None:
    with pytest.raises(UnicodeEncodeError) as raised:
        "\ud800".encode()
    assert fault_of(raised.value) is Fault.DATA


def test_a_mistake_of_ours_is_ours() -> None:
    assert fault_of(KeyError("x")) is Fault.OURS


def test_an_error_inside_copy_is_judged_like_any_other_and_shows_no_data(engine: Engine) -> None:
    with engine.connect() as conn:
        conn.execute(text("CREATE TEMPORARY TABLE small (value varchar(3))"))
        with pytest.raises(DBAPIError) as raised:
            copy_rows(conn, "small", ["value"], ["text"], [("ada@example.net",)])
    assert fault_of(raised.value) is Fault.DATA
    assert "ada" not in str(raised.value)


def test_a_connection_cut_inside_copy_passes_by_itself(engine: Engine, database_url: str) -> None:
    def rows_until_cut(pid: int) -> Iterator[tuple[str]]:
        yield ("one",)
        with psycopg.connect(database_url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        for _ in range(100_000):
            yield ("more",)

    with engine.connect() as conn:
        conn.execute(text("CREATE TEMPORARY TABLE incoming (value text)"))
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with pytest.raises(DBAPIError) as raised:
            copy_rows(conn, "incoming", ["value"], ["text"], rows_until_cut(pid))
    assert fault_of(raised.value) is Fault.TRANSIENT
