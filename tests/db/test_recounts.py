"""Recounts, which may take long, and changes that have gathered: neither keeps anybody from what is theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.plans import Plans, read_whole
from db import allowance
from db.counting import Counted, count_changes
from db.engine import create_engine
from db.reporting import campaign_stats
from db.sql import load_queries
from tests.waiting import eventually

#: Whoever recounts a campaign waits for whoever holds its readers; whoever adds to another does not.
READERS_KEPT: Final = "SELECT FROM attribution_campaign_people FOR UPDATE"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def stats(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(map(tuple, campaign_stats(conn)))


def take_away(conn: Connection, *campaigns: int) -> None:
    """Add an act to each of ``campaigns`` and then take it away, so that a recount is due."""
    for campaign in campaigns:
        conn.execute(text(ACT), {"campaign": campaign})
        conn.execute(text("DELETE FROM azure_engagement_events WHERE campaign_id = :campaign"), {"campaign": campaign})


ACT: Final = """
INSERT INTO azure_engagement_events (engagement_type, event_timestamp, campaign_id, subscriber_id, state, attributed_at)
VALUES ('view', now(), :campaign, 1, 'attributed', now())
"""


@pytest.fixture
def hurried(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine whose connections wait for half a second."""
    monkeypatch.setattr("db.engine.MARGIN", timedelta(seconds=0.2))
    engine = create_engine(database_url, statement_timeout=timedelta(seconds=0.3), for_batches=True)
    yield engine
    engine.dispose()


def test_a_recount_may_take_longer_than_a_batch_and_keeps_neither_additions_nor_other_recounts_from_being_kept(
    database_url: str, engine: Engine, hurried: Engine
) -> None:
    with engine.begin() as conn:
        conn.execute(text(ACT), {"campaign": 2})
    count_changes(engine)
    with psycopg.connect(database_url) as blocking, ThreadPoolExecutor(1) as pool:
        blocking.execute(READERS_KEPT)
        with engine.begin() as conn:
            take_away(conn, 1, 2)
            conn.execute(text(ACT), {"campaign": 3})
        expected = stats(engine)
        assert count_changes(hurried) == Counted(changes=4, recounts=1), "three acts, and one is taken away"
        assert kept_of(engine) == {2, 3}
        counting = pool.submit(count_changes, hurried)
        with psycopg.connect(database_url, autocommit=True) as looking:
            eventually(lambda: assert_somebody_waits(looking))
        time.sleep(1)
        assert not counting.done()
        blocking.rollback()
        assert counting.result() == Counted(changes=1, recounts=1)
    assert kept_of(engine) == {3}
    assert stats(engine) == expected
    with hurried.begin() as conn:
        assert conn.execute(text("SHOW statement_timeout")).scalar_one() == "300ms"
        assert conn.connection.driver_connection.longest_silence == timedelta(seconds=0.5)  # type: ignore[union-attr]


def assert_somebody_waits(looking: psycopg.Connection[Any]) -> None:
    waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    assert looking.execute(waits).fetchone() is not None


def kept_of(engine: Engine) -> set[int]:
    with engine.begin() as conn:
        return set(conn.execute(text("SELECT campaign_id FROM attribution_campaign_counts")).scalars())


def test_a_recount_has_an_end_and_then_the_next_one_begins_anew(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.execute(text(ACT), {"campaign": 1})
    count_changes(engine)
    with engine.begin() as conn:
        take_away(conn, 1)
    monkeypatch.setattr("db.counting.LONGEST_STATEMENT", timedelta(seconds=0.2))
    with psycopg.connect(database_url) as blocking:
        blocking.execute(READERS_KEPT)
        with pytest.raises(OperationalError, match="statement timeout"):
            count_changes(engine)
    assert count_changes(engine).recounts == 1
    assert stats(engine) == []


def test_adding_changes_has_an_end_long_before_a_recount_has(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.execute(text(ACT), {"campaign": 1})
    monkeypatch.setattr("db.counting.LONGEST_ADDITION", timedelta(seconds=0.2))
    with psycopg.connect(database_url) as blocking:
        blocking.execute("LOCK TABLE attribution_campaign_people IN EXCLUSIVE MODE")
        with pytest.raises(OperationalError, match="statement timeout"):
            count_changes(engine)
    assert count_changes(engine) == Counted(changes=1)


def test_postgresql_that_says_nothing_is_given_up_at_last(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a server that never ends the statement, or whose word of it is lost."""
    monkeypatch.setattr(allowance, "MARGIN", timedelta(seconds=-0.8))
    with (
        pytest.raises(OperationalError, match=r"did not answer for 0\.2 seconds"),
        engine.begin() as conn,
        allowance.allow_time(conn, timedelta(seconds=1)),
    ):
        conn.execute(text("SELECT pg_sleep(30)"))


def test_changes_of_a_campaign_that_waits_for_its_recount_are_in_it(engine: Engine) -> None:
    with engine.begin() as conn:
        take_away(conn, 1)
        for _ in range(3):
            conn.execute(text(ACT), {"campaign": 1})
    expected = stats(engine)
    assert count_changes(engine, limit=2) == Counted(changes=2)
    assert stats(engine) == expected
    assert count_changes(engine, limit=3) == Counted(changes=3, recounts=1)
    assert stats(engine) == expected
    assert count_changes(engine) == Counted()


GATHERED = 200_000
GATHER: Final = f"""
INSERT INTO attribution_count_changes (source, campaign_id, fact, times, waited, row_ids, recount, changed_by)
SELECT 'engagements', 5 + n % 300, 'open', 1, 0, ARRAY[-n], false, -n / 5 FROM generate_series(1, {GATHERED}) AS n
"""


@pytest.mark.parametrize("analysed", [False, True])
def test_however_many_changes_have_gathered_neither_a_drain_nor_a_counter_reads_them_all(
    engine: Engine, analysed: bool
) -> None:
    """As while beat is dead. The drain has its plans from when the table was known to be empty."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE attribution_count_changes"))
    engine.dispose()
    plans = Plans(engine)
    try:
        drain = engine.connect()
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("Only a superuser may load auto_explain.")
    with drain:
        for _ in range(10):
            drain_one_act(drain)
        with engine.begin() as conn:
            conn.execute(text("DELETE FROM attribution_count_changes"))
            conn.execute(text(GATHER))
            take_away(conn, 1)
            if analysed:
                conn.execute(text("ANALYZE attribution_count_changes"))
        plans.scans.clear()
        drain_one_act(drain)
        drain.execute(load_queries("counting.sql")["find_recount"])
        drain.commit()
    assert count_changes(engine) == Counted(changes=500)
    scans = [scan for scan in plans.scans if scan.table == "attribution_count_changes"]
    assert {"find_recount", "add_changes"} <= {scan.query for scan in scans}
    assert any("moved AS" in scan.query or "changed AS" in scan.query for scan in scans), "the trigger's"
    assert read_whole(scans, {"attribution_count_changes": GATHERED}) == []


def drain_one_act(conn: Connection) -> None:
    """Record an act and have it uncounted, as a drain does in a listmonk that tracks nobody."""
    conn.execute(text(ACT), {"campaign": 1})
    conn.execute(text("UPDATE azure_engagement_events SET uncounted = 'tracking_disabled' WHERE uncounted IS NULL"))
    conn.commit()
