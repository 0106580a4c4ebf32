"""PostgreSQL as it should not be: each fault is made on a real server, and found."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from cli.doctor import database as subject
from cli.doctor.clock import judge_clock
from cli.doctor.database import judge_version
from stack.postgres_server import PostgresServer
from tests.cli.doctor.conftest import NOWHERE, Diagnose
from tests.conftest import MakePostgres
from tests.databases import DatabaseServer, database_of


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def with_options(url: str, *options: str) -> str:
    return f"{url}?options={quote(' '.join(f'-c {option}' for option in options))}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"netloc": f"attribution:secret@{NOWHERE}"}, "nothing listens on its port"),
        ({"netloc": "attribution:wrong@{host}"}, "it refuses the password"),
        ({"path": "/no_such_database"}, "there is no such database"),
        ({"netloc": "attribution:x@no-such-host.invalid"}, "the name of its host cannot be resolved"),
        ({"query": "sslmode=require"}, "it does not speak TLS"),
    ],
    ids=["away", "password", "database", "host", "tls"],
)
def test_why_it_cannot_be_used_is_told_without_where_it_is(
    change: dict[str, str], words: str, database_url: str, diagnose: Diagnose
) -> None:
    parts = urlsplit(database_url)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(**{name: value.format(host=host) for name, value in change.items()}).geturl()
    if "wrong" in url:
        url = url.replace("attribution:", f"{parts.username}:")
    diagnosis = diagnose(only=("database", "schema"), database_url=url)
    level, sentence, fix = diagnosis.one("database-reachable")
    assert level == "failure"
    assert words in sentence
    assert fix
    assert diagnosis.one("database-version")[:2] == ("skipped", "PostgreSQL cannot be used")
    assert diagnosis.exit_code == 1
    for hidden in (host, "wrong", "no-such-host", str(parts.password)):
        assert hidden not in diagnosis.text


def test_a_server_that_never_answers_does_not_keep_the_doctor(diagnose: Diagnose) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, and nobody reads
        port = silent.getsockname()[1]
        diagnosis = diagnose(only="database", database_url=f"postgresql://attribution@127.0.0.1:{port}/name")
    assert diagnosis.one("database-reachable")[:2] == ("failure", "PostgreSQL cannot be used: it does not answer.")


def test_an_address_that_cannot_be_read_is_told_without_it(diagnose: Diagnose) -> None:
    diagnosis = diagnose(only="database", database_url="postgresql://user:pass@phrase@host:5432/name")
    assert diagnosis.one("database-reachable")[:2] == (
        "failure",
        "PostgreSQL cannot be used: ATTRIBUTION_DATABASE_URL cannot be read.",
    )
    assert "phrase" not in diagnosis.text


def test_a_sound_server_is_in_order(database_url: str, diagnose: Diagnose) -> None:
    diagnosis = diagnose(only="database", database_url=database_url)
    bad = {check for check, _, sentence in diagnosis.bad() if "fsync" not in sentence}
    assert not bad, "tests' servers have fsync off, and nothing else is wrong with them"


@pytest.mark.parametrize(
    ("options", "check", "level", "words"),
    [
        (["synchronous_commit=off"], "database-durability", "failure", "a crash loses the last commits"),
        (["default_transaction_read_only=on"], "database-writable", "failure", "Transactions of this role"),
    ],
    ids=["asynchronous", "read-only"],
)
def test_a_session_that_the_address_spoils_is_found(
    options: list[str], check: str, level: str, words: str, database_url: str, diagnose: Diagnose
) -> None:
    diagnosis = diagnose(only=check, database_url=with_options(database_url, *options))
    assert [found[0] for found in diagnosis.of(check) if words in found[1]] == [level]


def test_an_encoding_that_lacks_characters_is_found(database_server: DatabaseServer, diagnose: Diagnose) -> None:
    url = urlsplit(database_server.url)._replace(path=f"/doctor_{database_server.run}").geturl()
    run(
        database_server.url,
        f"CREATE DATABASE {database_of(url)} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    try:
        found = diagnose(only="database-encoding", database_url=url).one("database-encoding")
        assert found[:2] == (
            "failure",
            "The database's encoding is LATIN1: an event with a character that it lacks cannot be stored.",
        )
    finally:
        database_server.drop(url)


def test_a_server_that_may_lose_commits_and_never_cleans_up_is_found(
    private_postgres: MakePostgres, diagnose: Diagnose
) -> None:
    server = private_postgres(
        full_page_writes="off", autovacuum="off", synchronous_standby_names="", max_connections="20",
        max_prepared_transactions="1", wal_level="replica",
    )  # fmt: skip
    diagnosis = diagnose(only=("database-durability", "database-vacuum"), database_url=server.url)
    sentences = [sentence for level, sentence, _ in diagnosis.of("database-durability") if level == "failure"]
    assert [sentence.partition(":")[0] for sentence in sentences] == ["fsync is off", "full_page_writes is off"]
    assert diagnosis.one("database-vacuum")[:2] == (
        "failure",
        "autovacuum is off: tables and indexes grow without end, and queries lose their plans.",
    )
    _fill_connections(server, diagnose)
    _leave_prepared(server, diagnose, pytest.MonkeyPatch())
    _leave_a_slot(server, diagnose)


def _fill_connections(server: PostgresServer, diagnose: Diagnose) -> None:
    connections = [psycopg.connect(server.url) for _ in range(15)]
    level, sentence, _ = diagnose(only="database-connections", database_url=server.url).one("database-connections")
    assert level == "warning"
    assert "of 17 connections are in use" in sentence
    for connection in connections:
        connection.close()


def _leave_prepared(server: PostgresServer, diagnose: Diagnose, patch: pytest.MonkeyPatch) -> None:
    run(server.url, "BEGIN", "CREATE TABLE t ()", "PREPARE TRANSACTION 'left'")
    with patch.context() as patched:
        patched.setattr(subject, "LONG_TRANSACTION", timedelta(0))
        level, sentence, _ = diagnose(only="database-transactions", database_url=server.url).one(
            "database-transactions"
        )
    assert level == "warning"
    assert sentence.startswith("1 transaction is prepared for a commit in two phases")
    run(server.url, "ROLLBACK PREPARED 'left'")


def _leave_a_slot(server: PostgresServer, diagnose: Diagnose) -> None:
    run(server.url, "SELECT pg_create_physical_replication_slot('gone', true)")
    level, sentence, fix = diagnose(only="database-slots", database_url=server.url).one("database-slots")
    assert level == "hint", "it keeps little yet"
    assert "1 replication slot is read by nobody" in sentence
    assert "pg_drop_replication_slot" in fix


def test_ids_of_transactions_that_are_never_frozen_are_found(
    private_postgres: MakePostgres, diagnose: Diagnose
) -> None:
    server = private_postgres(autovacuum_freeze_max_age="100000")
    with psycopg.connect(server.url) as holder:  # what it may still want to see cannot be frozen
        holder.execute("SELECT pg_current_xact_id()")
        run(
            server.url,
            "CREATE UNLOGGED TABLE t ()",
            # Each subtransaction that writes takes an id.
            "DO $$ BEGIN FOR i IN 1..310000 LOOP BEGIN INSERT INTO t DEFAULT VALUES; EXCEPTION WHEN OTHERS THEN NULL;"
            " END; END LOOP; END $$",
        )
        level, sentence, _ = diagnose(only="database-freezing", database_url=server.url).one("database-freezing")
    assert level == "failure"
    assert "vacuum should have frozen it at 100,000" in sentence


def test_a_transaction_that_stays_open_is_found(
    database_url: str, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LONG_TRANSACTION", timedelta(0))
    with psycopg.connect(database_url) as idle:
        idle.execute("SELECT 1")
        level, sentence, fix = diagnose(only="database-transactions", database_url=database_url).one(
            "database-transactions"
        )
    assert level == "warning"
    assert sentence.startswith("1 transaction of this database has been open for 0 minutes and more")
    assert "waits for its program rather than for PostgreSQL" in sentence
    assert "pg_terminate_backend" in fix


@pytest.mark.parametrize(("major", "level"), [(14, "failure"), (15, "ok"), (18, "ok")])
def test_a_version_that_is_too_old_is_found(major: int, level: str) -> None:
    assert judge_version(major).level == level


@pytest.mark.parametrize(
    ("apart", "words"), [(0, None), (1, None), (7, "7 seconds ahead of"), (-7, "7 seconds behind"), (3600, "3,600")]
)
def test_clocks_that_differ_are_found(apart: float, words: str | None) -> None:
    import time

    found: list[Any] = list(judge_clock("PostgreSQL", lambda: time.time() + apart))
    assert [words in finding.sentence for finding in found] == ([True] if words else [])
    assert [finding.level for finding in found] == ([] if words is None else ["failure" if apart > 30 else "warning"])
