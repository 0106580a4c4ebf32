"""An upgrade that stops anywhere is run again, and arrives where one that never stopped arrives."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db.migrate import MigrationFailed, is_current, upgrade
from migrations import online
from tests.migrations.catalogue import schema
from tests.migrations.conftest import MakeDatabase, connect
from tests.migrations.replaced_system import ENGAGEMENT, TABLES, TRACKING, azure_id, contents
from tests.migrations.test_foreign_writers import RECORD, TRACK
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
UNIQUE_ID = "azure_message_tracking_internet_message_id_key"


class Interrupted(Exception):
    pass


def state_of(url: str) -> tuple[object, ...]:
    """Return all that counts: the schema, and every row but for the moment at which it was parked."""
    with connect(url) as connection:
        rows = contents(connection, *TABLES, "attribution_quarantine")
        for table in rows.values():
            for row in table.values():
                row.pop("next_attempt_at", None)
                row.pop("created_at", None)
        return schema(connection), rows


@pytest.mark.timeout(300)
def test_upgrade_stopped_before_any_of_its_steps_can_be_run_again(
    old_database: MakeDatabase, copy_of: Callable[[str], str], longer: bool
) -> None:
    """Any of its steps with ``--longer``; else one in three."""
    old = old_database("v7.2", listmonk=True)
    uninterrupted = copy_of(old)
    steps: list[str] = []
    upgrade(uninterrupted, report=steps.append)
    wanted = state_of(uninterrupted)
    assert len(steps) > 40
    for stop in range(0, len(steps), 1 if longer else 3):
        url = copy_of(old)
        reports = iter(range(stop))

        def stop_there(sentence: str, reports: Iterator[int] = reports) -> None:
            if next(reports, None) is None:
                raise Interrupted(sentence)

        with pytest.raises(Interrupted):
            upgrade(url, report=stop_there)
        assert not is_current(url)
        upgrade(url)
        assert state_of(url) == wanted, steps[stop]


@pytest.mark.timeout(300)
def test_replaced_system_goes_on_writing_to_an_upgrade_that_has_stopped(
    old_database: MakeDatabase, copy_of: Callable[[str], str]
) -> None:
    old = old_database("v7.2", listmonk=True)
    steps: list[str] = []
    upgrade(copy_of(old), report=steps.append)
    for stop in range(0, len(steps), 5):
        url = copy_of(old)
        reports = iter(range(stop))

        def stop_there(sentence: str, reports: Iterator[int] = reports) -> None:
            if next(reports, None) is None:
                raise Interrupted(sentence)

        with pytest.raises(Interrupted):
            upgrade(url, report=stop_there)
        with connect(url) as connection:
            for number, message_id in enumerate(("", "", "Same@EXAMPLE.com", "<Same@example.com>", "not one")):
                connection.execute(TRACK.encode(), [azure_id(900 + number), 1, 1, message_id])
            for campaign in (1, None):
                connection.execute(RECORD.encode(), [azure_id(900), campaign, None, "Same@EXAMPLE.com"])
        upgrade(url)
        with connect(url) as connection:
            rows = contents(connection, TRACKING, ENGAGEMENT)
        tracked = [row for row in rows[TRACKING].values() if str(row["azure_message_id"]) >= azure_id(900)]
        assert [row["internet_message_id"] for row in tracked] == [None, None, "<Same@example.com>", None, None]
        assert [row["set_aside_message_id"] for row in tracked][3:] == ["<Same@example.com>", "not one"]
        recorded = [row for row in rows[ENGAGEMENT].values() if row["azure_message_id"] == azure_id(900)]
        assert [row["state"] for row in recorded] == ["attributed", "parked"]


def test_rows_settled_before_a_stop_are_not_settled_again(
    old_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch in the middle meets a lock; those before it have been committed."""
    monkeypatch.setattr(online, "BATCH_ROWS", 3)
    monkeypatch.setattr(online, "TRIES", 1)
    monkeypatch.setattr(online, "LOCK_TIMEOUT", online.PAUSE / 10)
    url = old_database("v7.2", listmonk=False)
    with psycopg.connect(url) as mailer:
        before = contents(mailer, TRACKING)[TRACKING].keys()
        mailer.rollback()

        def lock_a_row(sentence: str) -> None:
            if sentence.startswith("normalising"):
                mailer.execute("SELECT FROM azure_message_tracking WHERE id = 11 FOR NO KEY UPDATE")

        with pytest.raises(MigrationFailed, match="a lock was not free in 1 attempts"):
            upgrade(url, report=lock_a_row)
        rows = contents(mailer, TRACKING)[TRACKING]
        assert rows[2]["internet_message_id"] == "<Two@mail.example.com>"
        assert rows[11]["internet_message_id"] == "<agree@EXAMPLE.com>"
    upgrade(url)
    with connect(url) as connection:
        rows = contents(connection, TRACKING)[TRACKING]
    assert rows.keys() == before
    assert rows[11]["set_aside_message_id"] == "<agree@example.com>"


@contextmanager
def index_build_held_up(url: str) -> Iterator[Callable[[], None]]:
    """Hold an old snapshot, for which CREATE INDEX CONCURRENTLY waits; yield what waits until it does."""
    with psycopg.connect(url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM webhook_logs")

        def is_waiting() -> None:
            with connect(url) as connection:
                assert _builders(connection)

        yield lambda: eventually(is_waiting, within=30)


def _builders(connection: psycopg.Connection[Any]) -> list[int]:
    cursor = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE 'CREATE %INDEX CONCURRENTLY%'"
    )
    return [pid for (pid,) in cursor]


def _index_is_valid(url: str, name: str) -> bool | None:
    with connect(url) as connection:
        row = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name]
        ).fetchone()
        return row[0] if row else None


def _upgrade_in_a_process(url: str) -> subprocess.Popen[str]:
    script = f"from db.migrate import upgrade; upgrade({url!r}, report=lambda s: print(s, flush=True))"
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_index_left_unfinished_by_a_lost_connection_is_built_anew(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)

    def upgrade_in_a_process() -> subprocess.CompletedProcess[str]:
        script = (
            "from db.migrate import *\n"
            f"try: upgrade({url!r}, report=lambda _: None)\n"
            "except MigrationFailed as failure: print(failure)"
        )
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30
        )

    with ThreadPoolExecutor() as pool, index_build_held_up(url) as wait:
        stopped = pool.submit(upgrade_in_a_process)
        wait()
        with connect(url) as connection:
            (builder,) = _builders(connection)
            connection.execute("SELECT pg_terminate_backend(%s)", [builder])
        said = stopped.result()
    assert said.stdout.startswith(f"The migration stopped while building the index {UNIQUE_ID}: "), said.stderr
    assert _index_is_valid(url, UNIQUE_ID) is False
    sentences: list[str] = []
    upgrade(url, report=sentences.append)
    assert f"dropping the unfinished index {UNIQUE_ID}" in sentences
    assert _index_is_valid(url, UNIQUE_ID)


def test_upgrade_killed_while_postgresql_builds_keeps_the_next_one_waiting(old_database: MakeDatabase) -> None:
    """PostgreSQL goes on building for a client that is dead. Two at once would fail each other's index."""
    url = old_database("v7.2", listmonk=True)
    with index_build_held_up(url) as wait:
        killed = _upgrade_in_a_process(url)
        wait()
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        heir = _upgrade_in_a_process(url)
        assert heir.stdout is not None
        assert heir.stdout.readline() == "waiting for another migration of this database to end\n"
        assert not is_current(url)
    heir.communicate(timeout=30)
    assert heir.returncode == 0
    assert is_current(url)
    assert _index_is_valid(url, UNIQUE_ID)
