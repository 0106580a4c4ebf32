"""A database without any table of ours."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from db.engine import create_engine
from db.migrate import DatabaseNotMigrated, MigrationFailed, current, is_current, require_current, upgrade
from db.tables import VERSION_TABLE, metadata
from tests.databases import DatabaseServer
from tests.migrations.catalogue import schema
from tests.migrations.conftest import MakeDatabase, connect

ROOT = Path(__file__).parents[2]


def test_tables_py_says_what_the_migration_makes(empty_database_url: str, database_server: DatabaseServer) -> None:
    upgrade(empty_database_url)
    described = database_server.create()
    try:
        engine = create_engine(described, poolclass=sa.NullPool)
        metadata.create_all(engine)
        with connect(described) as connection:
            wanted = schema(connection)
    finally:
        database_server.drop(described)
    with connect(empty_database_url) as connection:
        assert schema(connection) == wanted


def test_autogenerate_finds_nothing_to_do(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("version", ["none", "v7.2"])
def test_autogenerate_leaves_listmonks_tables_alone(old_database: MakeDatabase, version: str) -> None:
    url = old_database(version, listmonk=True)
    upgrade(url)
    checked = subprocess.run(  # `alembic check` as a developer runs it: alembic.ini, env.py and its filters
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env={"ATTRIBUTION_DATABASE_URL": url},
        capture_output=True,
        text=True,
    )
    assert "No new upgrade operations detected." in checked.stdout, checked.stderr


def test_worker_can_tell_a_database_that_is_not_migrated(empty_database_url: str) -> None:
    assert current(empty_database_url) is None
    assert not is_current(empty_database_url)
    with pytest.raises(DatabaseNotMigrated, match=r"was never migrated, .* needs 0004\. Run `attribution migrate`\."):
        require_current(empty_database_url)
    upgrade(empty_database_url)
    require_current(empty_database_url)
    assert current(empty_database_url) == "0004"


def test_database_of_a_newer_release_will_do(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'".encode())
    require_current(database_url)
    upgrade(database_url, report=pytest.fail)
    assert current(database_url) == "9999"


def test_second_upgrade_does_nothing_and_waits_for_nobody(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        for table in metadata.tables:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        began = time.monotonic()
        upgrade(database_url, report=pytest.fail)
        assert time.monotonic() - began < 2


def test_upgrade_works_from_any_folder(empty_database_url: str, tmp_path: Path) -> None:
    script = f"from db.migrate import upgrade; upgrade({empty_database_url!r}, report=print)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert is_current(empty_database_url)


def test_alembics_own_command_migrates_and_refuses_to_go_back(empty_database_url: str) -> None:
    def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=ROOT,
            env={"ATTRIBUTION_DATABASE_URL": empty_database_url},
            capture_output=True,
            text=True,
        )

    assert alembic("upgrade", "head").returncode == 0
    assert is_current(empty_database_url)
    refused = alembic("downgrade", "base")
    assert refused.returncode != 0
    assert "There is no downgrade from 0004" in refused.stdout + refused.stderr
    assert is_current(empty_database_url)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_that_cannot_hold_every_script_is_refused(database_server: DatabaseServer, encoding: str) -> None:
    name = f"attribution_test_{database_server.run}_{encoding.lower()}"
    url = urlsplit(database_server.url)._replace(path=f"/{name}").geturl()
    with connect(database_server.url) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'".encode()
        )
    try:
        with pytest.raises(MigrationFailed, match=f"The database's encoding is {encoding}. It must be UTF8"):
            upgrade(url)
        assert current(url) is None
    finally:
        database_server.drop(url)
