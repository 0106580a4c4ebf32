"""The replaced system's mailer and webhook handler, left running while we take over, and after."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from db.migrate import upgrade
from migrations import online
from tests.migrations.conftest import MakeDatabase, connect
from tests.migrations.replaced_system import ENGAGEMENT, TRACKING, azure_id, contents

TRACK = """
INSERT INTO azure_message_tracking
    (azure_message_id, campaign_id, subscriber_id, smtp_server_uuid, sent_at, internet_message_id)
VALUES (%s, %s, %s, gen_random_uuid(), now(), %s) RETURNING id
"""
RECORD = """
INSERT INTO azure_engagement_events
    (azure_message_id, campaign_id, subscriber_id, engagement_type, engagement_context, user_agent, event_timestamp,
     internet_message_id)
VALUES (%s, %s, %s, 'view', '', '', now(), %s) RETURNING id
"""
RECORD_DELIVERY = """
INSERT INTO azure_delivery_events
    (azure_message_id, campaign_id, subscriber_id, status, status_reason, delivery_status_details, event_timestamp)
VALUES (%s, %s, %s, 'Delivered', '', '{}', now()) RETURNING state::text, matched_by::text
"""

anywhere = pytest.mark.parametrize(
    ("version", "listmonk"), [("v7.2", True), ("v7.2", False), ("none", True)], ids=["v7.2", "v7.2 alone", "none"]
)


def _number(connection: psycopg.Connection[Any], statement: str, *values: object) -> int:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    return int(row[0])


@anywhere
def test_mailer_goes_on_inserting(old_database: MakeDatabase, version: str, listmonk: bool) -> None:
    url = old_database(version, listmonk=listmonk, filled=False)
    upgrade(url)
    with connect(url) as connection:
        given = {
            " Good@EXAMPLE.com": ("<Good@example.com>", None),
            "": (None, None),
            "  ": (None, None),
            None: (None, None),
            "not one": (None, "not one"),
            "<Good@example.com>": (None, "<Good@example.com>"),  # taken by the first: the row stays, under its other id
        }
        for number, (message_id, kept) in enumerate(given.items()):
            row = _number(connection, TRACK, azure_id(500 + number), 1, 1, message_id)
            stored = contents(connection, TRACKING)[TRACKING][row]
            assert (stored["internet_message_id"], stored["set_aside_message_id"]) == kept
            assert stored["tracked_via"] is None  # for our sweep to adopt
        for again in range(2):
            _number(connection, TRACK, azure_id(600 + again), 1, 1, "")


@anywhere
def test_handler_goes_on_inserting(old_database: MakeDatabase, version: str, listmonk: bool) -> None:
    url = old_database(version, listmonk=listmonk, filled=False)
    upgrade(url)
    with connect(url) as connection:
        settled = _number(connection, RECORD, azure_id(1), 3, 4, " Open@EXAMPLE.com ")
        waiting = _number(connection, RECORD, azure_id(2), None, None, "")
        rows = contents(connection, ENGAGEMENT)[ENGAGEMENT]
        delivered = connection.execute(RECORD_DELIVERY.encode(), [azure_id(1), 3, 4]).fetchone()
    state = ("state", "matched_by", "campaign_id", "internet_message_id")
    assert [rows[settled][name] for name in state] == ["attributed", "replaced_system", 3, "<Open@example.com>"]
    assert [rows[waiting][name] for name in state] == ["parked", None, None, None]
    assert rows[waiting]["next_attempt_at"] is not None
    assert delivered == ("attributed", "replaced_system")


def test_rows_of_our_own_do_not_pay_for_them(database_url: str) -> None:
    """Standing alone and new, there is no replaced system, and no trigger that is called for each row."""
    for_each_row = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 1 = 1"
    with connect(database_url) as connection:
        assert connection.execute(for_each_row).fetchone() == (0,)


def test_nobody_waits_long_and_nothing_is_lost_while_we_take_over(
    old_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mailer, a handler and a reader at work throughout the upgrade of tables with some tens of thousands of rows."""
    monkeypatch.setattr(online, "BATCH_ROWS", 2_000)
    url = old_database("v7.2", listmonk=True)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id, internet_message_id)"
            " SELECT gen_random_uuid(), 1 + n % 9, 1 + n % 99, ' BULK-' || n % 20000 || '@EXAMPLE.com'"
            " FROM generate_series(1, 21000) AS n"
        )
        connection.execute(
            "INSERT INTO azure_engagement_events"
            " (azure_message_id, campaign_id, engagement_type, event_timestamp, internet_message_id)"
            " SELECT gen_random_uuid(), CASE WHEN n % 3 > 0 THEN 1 END, 'view', now(), 'BULK-' || n || '@EXAMPLE.com'"
            " FROM generate_series(1, 20000) AS n"
        )
        before = {table: set(rows) for table, rows in contents(connection, TRACKING, ENGAGEMENT).items()}
    done = threading.Event()
    inserted: dict[str, set[int]] = {TRACKING: set(), ENGAGEMENT: set()}
    longest: dict[str, float] = {}
    failures: list[Exception] = []

    def work(name: str, act: Any) -> None:
        try:
            with connect(url) as own:
                turn = 0
                while not done.is_set():
                    turn += 1
                    began = time.monotonic()
                    act(own, turn)
                    longest[name] = max(longest.get(name, 0.0), time.monotonic() - began)
        except Exception as error:
            failures.append(error)

    def track(own: psycopg.Connection[Any], turn: int) -> None:
        message_id = ("", f"live-{turn}@example.com", f"BULK-{turn}@EXAMPLE.com")[turn % 3]
        row = own.execute(TRACK.encode(), [azure_id(10_000 + turn), 1, 1, message_id]).fetchone()
        inserted[TRACKING].add(row[0] if row else -1)

    def record(own: psycopg.Connection[Any], turn: int) -> None:
        campaign = None if turn % 2 else 1
        row = own.execute(RECORD.encode(), [azure_id(turn), campaign, None, f"live-{turn}@example.com"]).fetchone()
        inserted[ENGAGEMENT].add(row[0] if row else -1)

    def read(own: psycopg.Connection[Any], turn: int) -> None:
        own.execute("SELECT campaign_id FROM azure_message_tracking WHERE azure_message_id = %s", [azure_id(turn)])

    workers = [threading.Thread(target=work, args=(act.__name__, act)) for act in (track, record, read)]
    for worker in workers:
        worker.start()
    try:
        upgrade(url)
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert not failures
    assert max(longest.values()) < 2, longest
    with connect(url) as connection:
        after = contents(connection, TRACKING, ENGAGEMENT)
        stuck = connection.execute(
            "SELECT count(*) FROM azure_engagement_events WHERE (state = 'parked') <> (campaign_id IS NULL)"
            " OR (state = 'parked' AND next_attempt_at IS NULL)"
        ).fetchone()
    assert stuck == (0,)
    for table, rows in after.items():
        assert len(inserted[table]) > 10
        assert rows.keys() == before[table] | inserted[table]
