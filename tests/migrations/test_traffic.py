"""Locks of others, and other upgrades."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db.migrate import LOCK, MigrationFailed, is_current, upgrade
from migrations import online
from tests.migrations.conftest import MakeDatabase, connect
from tests.migrations.replaced_system import OLD_TRACKING, TRACKING, contents

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "LOCK_TIMEOUT", timedelta(milliseconds=200))
    monkeypatch.setattr(online, "PAUSE", timedelta(milliseconds=200))


@pytest.mark.usefixtures("hasty")
def test_step_that_meets_a_lock_lets_others_pass_and_tries_again(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)
    longest = 0.0
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM azure_message_tracking")  # a report that takes its time

        def release_on_third_attempt(sentence: str) -> None:
            nonlocal longest
            if "attempt 3 " in sentence:
                reader.rollback()
            elif "attempt" in sentence:  # the pause after an attempt: others get through
                with connect(url) as other:
                    began = time.monotonic()
                    other.execute("SELECT count(*) FROM azure_message_tracking")
                    longest = max(longest, time.monotonic() - began)

        upgrade(url, report=release_on_third_attempt)
    assert is_current(url)
    assert 0 < longest < 1


def test_the_first_waits_for_a_lock_are_short_for_others_wait_behind(
    old_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "FIRST_LOCK_TIMEOUT", timedelta(milliseconds=10))
    monkeypatch.setattr(online, "LOCK_TIMEOUT", timedelta(milliseconds=50))
    monkeypatch.setattr(online, "PAUSE", timedelta(0))
    monkeypatch.setattr(online, "TRIES", 5)
    url = old_database("v7.2", listmonk=True)
    with connect(url) as session, psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM azure_message_tracking")
        asked: list[str] = []

        class Noted(online.Online):
            def rows(self, query: str, **parameters: object) -> list[Any]:
                asked.append(query)
                return super().rows(query, **parameters)

        with pytest.raises(online.StillLocked):
            Noted(session, print).change("taking it", "LOCK TABLE azure_message_tracking IN ACCESS EXCLUSIVE MODE")
    waits = [int(query.rpartition(" ")[2]) for query in asked if "lock_timeout" in query]
    assert waits == [10, 20, 40, 50, 50]


@pytest.mark.usefixtures("hasty")
def test_lock_that_is_never_free_ends_the_upgrade_with_a_sentence(
    old_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "TRIES", 2)
    url = old_database("v7.2", listmonk=True)
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM azure_message_tracking")
        with pytest.raises(
            MigrationFailed,
            match=r"While taking over azure_message_tracking, a lock was not free in 2 attempts\. .* pg_stat_activity",
        ):
            upgrade(url)
    upgrade(url)
    assert is_current(url)


def test_index_build_that_waits_for_ever_ends_with_a_sentence(
    old_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "INDEX_TIMEOUT", timedelta(milliseconds=300))
    url = old_database("v7.2", listmonk=True)
    with psycopg.connect(url) as reader:
        reader.execute("SELECT pg_current_xact_id()")
        reader.execute("LOCK TABLE azure_message_tracking IN ROW EXCLUSIVE MODE")  # as one that has written

        def release_at_the_index(sentence: str) -> None:
            if sentence.startswith("taking over"):
                reader.rollback()
            elif sentence.startswith("building the index"):
                reader.execute("LOCK TABLE azure_message_tracking IN ROW EXCLUSIVE MODE")

        with pytest.raises(MigrationFailed, match="transactions that began before were still open"):
            upgrade(url, report=release_at_the_index)
    upgrade(url)
    assert is_current(url)


def test_of_two_upgrades_at_once_one_works_and_the_other_waits(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)
    script = f"from db.migrate import upgrade; upgrade({url!r}, report=print)"
    both = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=50)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    worked = [sentences for sentences in said if "creating tables" in sentences]
    assert len(worked) == 1
    assert is_current(url)
    with connect(url) as connection:
        assert len(contents(connection, TRACKING)[TRACKING]) == len(OLD_TRACKING)


def test_upgrade_does_not_wait_for_another_for_ever(empty_database_url: str) -> None:
    with connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        sentences: list[str] = []
        with pytest.raises(
            MigrationFailed, match=r"Another migration of this database was still running after 0:00:01"
        ):
            upgrade(empty_database_url, report=sentences.append, wait=timedelta(seconds=1))
        assert sentences == ["waiting for another migration of this database to end"]
        threading.Timer(0.5, other.execute, ["SELECT pg_advisory_unlock_all()"]).start()
        upgrade(empty_database_url)
    assert is_current(empty_database_url)


def test_duplicate_inserted_between_cleaning_and_indexing_is_cleaned_as_well(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)
    # First a row that agrees with row 1, then one that does not.
    late = iter([(1, 1, "<one@example.com>"), (3, 1, "<one@example.com>")])

    with connect(url) as mailer:

        def insert_late(sentence: str) -> None:
            if sentence == "building the index azure_message_tracking_internet_message_id_key":
                for values in itertools.islice(late, 1):
                    # It names tracked_via, so that the trigger for foreign writers stays out of it.
                    mailer.execute(
                        "INSERT INTO azure_message_tracking"
                        " (azure_message_id, campaign_id, subscriber_id, internet_message_id, tracked_via)"
                        " VALUES (gen_random_uuid(), %s, %s, %s, 'test')",
                        values,
                    )

        sentences: list[str] = []

        def report(sentence: str) -> None:
            sentences.append(sentence)
            insert_late(sentence)

        upgrade(url, report=report)
        rows = contents(mailer, TRACKING)[TRACKING]
    assert sentences.count("a duplicate was inserted into azure_message_tracking meanwhile; once more") == 2
    claimants = [row for row in rows.values() if row["set_aside_message_id"] == "<one@example.com>"]
    assert [row["campaign_id"] for row in claimants] == [1, 1, 3]
    assert not [row for row in rows.values() if row["internet_message_id"] == "<one@example.com>"]
    assert len(rows) == len(OLD_TRACKING) + 2


def test_id_known_to_be_ambiguous_is_not_left_to_a_later_claimant(old_database: MakeDatabase) -> None:
    """The two that disagreed have had theirs set aside; a third would seem to be the only one."""
    url = old_database("v7.2", listmonk=True)
    with connect(url) as mailer:

        def insert_late(sentence: str) -> None:
            if sentence.endswith("azure_message_tracking_internet_message_id_key"):
                mailer.execute(
                    "INSERT INTO azure_message_tracking"
                    " (azure_message_id, campaign_id, subscriber_id, internet_message_id, tracked_via)"
                    " SELECT gen_random_uuid(), 6, 1, id, 'test'"
                    " FROM unnest(ARRAY['<torn@example.com>', '<x@example.com>', '<x@example.com>']) AS id"
                    " WHERE NOT EXISTS (SELECT FROM azure_message_tracking WHERE campaign_id = 6)"
                )

        upgrade(url, report=insert_late)
        rows = contents(mailer, TRACKING)[TRACKING].values()
    assert [row["campaign_id"] for row in rows if row["set_aside_message_id"] == "<torn@example.com>"] == [3, 4, 6]
    assert [row["campaign_id"] for row in rows if row["internet_message_id"] == "<x@example.com>"] == [6]


def test_duplicates_without_end_end_the_upgrade_with_a_sentence(old_database: MakeDatabase) -> None:
    url = old_database("v7.2", listmonk=True)
    with connect(url) as mailer:

        def insert_late(sentence: str) -> None:
            if sentence.startswith("building the index"):
                mailer.execute(
                    "INSERT INTO azure_message_tracking"
                    " (azure_message_id, campaign_id, subscriber_id, internet_message_id, tracked_via)"
                    " SELECT gen_random_uuid(), n, 1, '<again@example.com>', 'test' FROM generate_series(1, 2) AS n"
                )

        with pytest.raises(MigrationFailed, match="received duplicates of internet_message_id in each of 5 attempts"):
            upgrade(url, report=insert_late)
    upgrade(url)
    assert is_current(url)
