"""The kept counts: exact at every moment, whoever changes a row and whenever that is added; and nobody waits."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from db.counting import Counted, count_changes
from db.engine import create_engine
from db.models import MessageIds
from db.parking import release
from db.reporting import campaign_stats, read_only
from db.tracking import track_messages
from tests.db.rows import click, message, record, report
from tests.waiting import eventually

#: The view as it was before anything was kept: every row, counted each time.
BEFORE: Final = (Path(__file__).parents[2] / "migrations/r0002/campaign_stats.sql").read_text()
START: Final = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=8, for_batches=True)
    with engine.begin() as conn:
        conn.connection.cursor().execute(BEFORE.replace("VIEW campaign_stats", "VIEW stats_by_rows"))
    yield engine
    engine.dispose()


def check(conn: Connection) -> list[Any]:
    """Make sure that what is kept and what was changed make what there is, and return it."""
    found = list(map(tuple, campaign_stats(conn)))
    assert found == [tuple(row) for row in conn.execute(text("SELECT * FROM stats_by_rows ORDER BY campaign_id"))]
    return found


def stats(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        read_only(conn)
        return check(conn)


def rows_in(engine: Engine, table: str) -> int:
    with engine.begin() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


# Whatever happens to a row. Each statement is one that somebody sends: the pipeline, a repair, listmonk, an operator.

TRACK = """
INSERT INTO azure_message_tracking (azure_message_id, internet_message_id, campaign_id, subscriber_id)
SELECT gen_random_uuid(), CASE WHEN random() < 0.7 THEN '<' || gen_random_uuid() || '@example.com>' END,
       1 + (random() * 3)::int, 1 + (random() * 9)::int FROM generate_series(1, :n)
"""
RECORD_ACTS = """
INSERT INTO azure_engagement_events (
    engagement_type, internet_message_id, event_timestamp, campaign_id, subscriber_id, state, uncounted, attributed_at)
SELECT (ARRAY['view', 'View', 'click', 'print'])[1 + (random() * 3)::int],
       '<m' || (random() * 5)::int || '@example.com>',
       CAST(:at AS timestamptz) + n * interval '1 minute', CASE WHEN waits THEN NULL ELSE 1 + (random() * 3)::int END,
       CASE WHEN random() < 0.7 THEN 1 + (random() * 9)::int END,
       CASE WHEN waits THEN 'parked' ELSE 'attributed' END::attribution_state,
       (ARRAY[NULL, NULL, 'native', 'unsubscribe_link', 'tracking_disabled'])[1 + (random() * 4)::int],
       CASE WHEN NOT waits THEN now() END
  FROM (SELECT n, random() < 0.3 AS waits FROM generate_series(1, :n) AS n) AS made
"""
RECORD_REPORTS = """
INSERT INTO azure_delivery_events (
    status, bounce_type, internet_message_id, event_timestamp, campaign_id, state, attributed_at)
SELECT (ARRAY['Delivered', 'Bounced', 'Expanded'])[1 + (random() * 2)::int],
       (ARRAY[NULL, 'hard', 'soft'])[1 + (random() * 2)::int], '<m@example.com>',
       CAST(:at AS timestamptz) + n * interval '1 minute', CASE WHEN waits THEN NULL ELSE 1 + (random() * 3)::int END,
       CASE WHEN waits THEN 'parked' ELSE 'attributed' END::attribution_state, CASE WHEN NOT waits THEN now() END
  FROM (SELECT n, random() < 0.3 AS waits FROM generate_series(1, :n) AS n) AS made
"""
WAITS = "state <> 'attributed'"
MESSAGES, DELIVERIES, ENGAGEMENTS = "azure_message_tracking", "azure_delivery_events", "azure_engagement_events"


def some(table: str, which: str = "true") -> str:
    return f"WHERE id IN (SELECT id FROM {table} WHERE {which} ORDER BY random() LIMIT :n)"


def of_events(table: str) -> list[str]:
    """What is done to the events of either kind."""
    return [
        f"UPDATE {table} SET state = 'attributed', campaign_id = 1 + (random() * 3)::int,"
        f" attributed_at = clock_timestamp() {some(table, WAITS)}",
        f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked'",
        f"UPDATE {table} SET campaign_id = 1 + (random() * 3)::int,"
        f" event_timestamp = event_timestamp - interval '1 hour' {some(table, 'campaign_id IS NOT NULL')}",
    ]


OF_ONE_KIND = [
    f"UPDATE {ENGAGEMENTS} SET uncounted = (ARRAY[NULL, 'native', 'tracking_disabled'])[1 + (random() * 2)::int]"
    f" {some(ENGAGEMENTS)}",
    f"UPDATE {ENGAGEMENTS} SET engagement_type = 'view' {some(ENGAGEMENTS)}",
    f"UPDATE {ENGAGEMENTS} SET subscriber_id = 3 {some(ENGAGEMENTS)}",
    f"UPDATE {DELIVERIES} SET bounce_type = 'complaint' {some(DELIVERIES)}",
    f"UPDATE {MESSAGES} SET internet_message_id = '<' || gen_random_uuid() || '@example.com>'"
    f" {some(MESSAGES, 'internet_message_id IS NULL')}",
    f"UPDATE {MESSAGES} SET campaign_id = 2 {some(MESSAGES)}",
]


def of_any_row(table: str) -> list[str]:
    return [f"DELETE FROM {table} {some(table)}", f"DELETE FROM {table} WHERE campaign_id = 4"]


#: Statements, and how often each is sent.
STATEMENTS: Final = [
    *[TRACK, RECORD_ACTS, RECORD_REPORTS] * 6,
    *[*of_events(DELIVERIES), *of_events(ENGAGEMENTS), *OF_ONE_KIND] * 2,
    *[statement for table in (MESSAGES, DELIVERIES, ENGAGEMENTS) for statement in of_any_row(table)],
    *[f"TRUNCATE {table}" for table in (MESSAGES, DELIVERIES, ENGAGEMENTS)],
]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_to_rows_the_numbers_are_those_of_counting_them_all(
    engine: Engine, seed: int, longer: bool
) -> None:
    chance = random.Random(seed)
    for step in range(1500 if longer else 120):
        with engine.begin() as conn:
            conn.execute(text("SELECT setseed(:seed)"), {"seed": chance.random()})
            for _ in range(chance.choice([1, 1, 2, 3])):
                at = START + timedelta(hours=chance.randrange(100))
                conn.execute(text(chance.choice(STATEMENTS)), {"n": chance.choice([1, 5, 40]), "at": at})
            if chance.random() < 0.2:
                conn.rollback()
        if step % 3 == 0:
            count_changes(engine, limit=chance.choice([1, 3, 500]))
        stats(engine)
    while count_changes(engine).changes:
        pass
    assert stats(engine)
    assert rows_in(engine, "attribution_count_changes") == 0


def test_what_the_pipeline_does_is_added_and_nothing_is_counted_anew(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message("<a@example.com>", campaign=1), message("<b@example.com>", campaign=2)])
        record(
            conn,
            click("1", "<a@example.com>"),
            click("2", "<a@example.com>"),
            click("3", "<late@example.com>", engagement_type="view"),
            report("4", "<b@example.com>"),
            report("5", "<late@example.com>"),
        )
    assert count_changes(engine).recounts == 0
    with engine.begin() as conn:
        track_messages(conn, [message("<late@example.com>", campaign=1)])
        record(conn, click("6", "<a@example.com>", engagement_type="view"))
    with engine.begin() as conn:
        release(conn, MessageIds(frozenset({"<late@example.com>"})))
    one, two = stats(engine)
    assert (one[1:3], one[6:10], one[11]) == ((2, 1), (2, 1, 2, 1), 2)
    assert two[1:3] == (1, 1)
    added = count_changes(engine)
    assert added.changes > 0
    assert added.recounts == 0
    assert stats(engine) == [one, two]
    assert rows_in(engine, "attribution_count_changes") == 0
    assert rows_in(engine, "attribution_campaign_people") == 2


def test_an_act_that_its_own_transaction_leaves_uncounted_needs_no_recount(engine: Engine) -> None:
    """As in listmonk with its tracking disabled: each batch inserts acts and then says that they do not count."""
    with engine.begin() as conn:
        conn.execute(text(RECORD_ACTS), {"n": 200, "at": START})
        conn.execute(text("UPDATE azure_engagement_events SET uncounted = 'tracking_disabled' WHERE id % 2 = 0"))
    expected = stats(engine)
    assert count_changes(engine).recounts == 0
    assert stats(engine) == expected


# At the same time.


def test_two_drains_of_one_campaign_do_not_wait_for_each_other_nor_the_counter_for_them(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message("<a@example.com>", campaign=1)])
    with engine.connect() as first, engine.connect() as second:
        for conn in (first, second):
            conn.execute(text("SET LOCAL lock_timeout = '1ms'"))
        record(first, click("1", "<a@example.com>"))
        record(second, click("2", "<a@example.com>", engagement_type="view"))
        assert count_changes(engine) == Counted(changes=1)
        (campaign,) = stats(engine)
        assert campaign[6:10] == (0, 0, 0, 0)
        first.commit()
        # What was uncommitted while the counter ran is there, and is added by the next.
        (campaign,) = stats(engine)
        assert campaign[6:10] == (0, 0, 1, 1)
        assert count_changes(engine).changes == 1
        second.commit()
    (campaign,) = stats(engine)
    assert campaign[6:10] == (1, 1, 1, 1)


#: Whoever recounts a campaign waits for whoever holds its readers; whoever adds to another does not.
READERS_KEPT: Final = "SELECT FROM attribution_campaign_people FOR UPDATE"
#: Of a campaign that has readers: the recount of one without would take nobody away, and so wait for nobody.
TAKE_AWAY_AN_ACT: Final = f"""
DELETE FROM {ENGAGEMENTS} WHERE id = (
    SELECT min(id) FROM {ENGAGEMENTS}
     WHERE state = 'attributed' AND campaign_id IN (SELECT campaign_id FROM attribution_campaign_people))
"""


@pytest.mark.parametrize("taken_away", [False, True])
def test_what_commits_while_the_counter_is_at_it_is_left_for_the_next(
    database_url: str, engine: Engine, taken_away: bool
) -> None:
    insert = {"n": 50, "at": START}
    with engine.begin() as conn:
        conn.execute(text(RECORD_ACTS), insert)
    count_changes(engine)
    with engine.begin() as conn:
        conn.execute(text(RECORD_ACTS), insert)
        if taken_away:
            assert conn.execute(text(TAKE_AWAY_AN_ACT)).rowcount == 1
    with psycopg.connect(database_url) as blocking, ThreadPoolExecutor(1) as pool:
        blocking.execute(READERS_KEPT if taken_away else "LOCK TABLE attribution_campaign_people IN SHARE MODE")
        counting = pool.submit(count_changes, engine)
        with psycopg.connect(database_url, autocommit=True) as looking:
            wait_for_lock(looking)
            with engine.begin() as conn:  # it has its snapshot, and waits for us in the middle
                conn.execute(text(RECORD_ACTS), insert)
            before = stats(engine)
            blocking.rollback()
        counted = counting.result()
        assert (counted.recounts > 0) is taken_away
    assert stats(engine) == before
    assert count_changes(engine).changes > 0
    assert stats(engine) == before


def wait_for_lock(looking: psycopg.Connection[Any]) -> None:
    def somebody_waits() -> None:
        waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        assert looking.execute(waits).fetchone() is not None

    eventually(somebody_waits)


def test_a_second_counter_leaves_the_work_to_the_first(engine: Engine) -> None:
    with engine.connect() as first:
        first.execute(text("LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE"))
        assert count_changes(engine) == Counted(busy=True)
    assert count_changes(engine) == Counted()


def test_whoever_may_only_insert_events_still_may(database_url: str, engine: Engine) -> None:
    """The replaced system's handler may have a role of its own, which knows nothing of our tables."""
    role = f"handler_{database_url.rpartition('_')[2]}_{random.randrange(10**9)}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}".encode())
        try:
            owner.execute(f"GRANT INSERT ON azure_engagement_events TO {role}".encode())
            owner.execute(f"GRANT USAGE ON SEQUENCE azure_engagement_events_id_seq TO {role}".encode())
            with owner.transaction():
                owner.execute(f"SET LOCAL ROLE {role}".encode())
                owner.execute("SET LOCAL search_path = pg_catalog")
                # A table of its own by that name is not taken for ours.
                owner.execute(
                    "INSERT INTO public.azure_engagement_events (engagement_type, event_timestamp, campaign_id, state)"
                    " VALUES ('view', now(), 9, 'attributed')"
                )
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
    assert [row[0] for row in stats(engine)] == [9]
