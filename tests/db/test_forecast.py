"""Which waits the past of a forecast is made of, and what reading them costs."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.forecast import list_older, read_waits
from db.parking import expire_now, sweep
from db.survival import span_of
from db.tracking import message_ids, track_messages
from tests.db.rows import click, message, record, release_in_new_transaction, report

TABLE = "azure_engagement_events"
DAY = 86_400


def execute(engine: Engine, statement: str, **parameters: object) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement), parameters)


def park(engine: Engine, *event_ids: str, ago: float = 0) -> None:
    """Park events as the drain does, so long ago in seconds."""
    with engine.begin() as conn:
        record(conn, *(click(event_id, f"<{event_id}@example.com>") for event_id in event_ids))
    execute(
        engine,
        f"UPDATE {TABLE} SET created_at = now() - make_interval(secs => :ago) WHERE event_id = ANY(:ids)",
        ago=ago,
        ids=list(event_ids),
    )


def track(engine: Engine, *event_ids: str) -> None:
    messages = [message(f"<{event_id}@example.com>") for event_id in event_ids]
    with engine.begin() as conn:
        track_messages(conn, messages)
    assert release_in_new_transaction(engine, message_ids(messages)) == len(event_ids)


def spans(counts: Counter[int]) -> list[int]:
    return sorted(counts.elements())


def test_waits_are_counted_by_the_age_at_which_they_ended_or_that_they_have(engine: Engine) -> None:
    park(engine, "young", ago=21)
    park(engine, "matched", "waiting", ago=2 * 3600)
    track(engine, "matched")
    with engine.begin() as conn:
        waits = read_waits(conn, TABLE)
    two_hours = [span_of(2 * 3600 + 10)]
    assert (spans(waits.matched), spans(waits.left)) == (two_hours, two_hours)
    assert (spans(waits.matched_lately), spans(waits.left_lately)) == ([], [span_of(21.5)])
    assert spans(waits.parked) == [span_of(21.5), *two_hours]
    assert waits.curve().events == 3


def test_an_event_attributed_as_it_is_recorded_never_waited(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message()])
        record(conn, *(click(f"e{number}") for number in range(10)))
        waits = read_waits(conn, TABLE)
        assert (waits.curve().events, waits.parked) == (0, Counter())


def test_an_expired_event_still_waits_and_once_revived_was_matched(engine: Engine) -> None:
    park(engine, "expired", "revived", ago=8 * DAY)
    with engine.begin() as conn:
        expire_now(conn, event_ids=None, internet_message_id=None)
    track(engine, "revived")
    with engine.begin() as conn:
        waits = read_waits(conn, TABLE)
    eight_days = [span_of(8 * DAY + 10)]
    assert (spans(waits.matched), spans(waits.left), spans(waits.parked)) == (eight_days, eight_days, [])


def test_what_a_deleted_campaign_has_ended_was_seen_waiting_until_then(engine: Engine) -> None:
    park(engine, "deleted", ago=8 * DAY)
    execute(
        engine,
        f"UPDATE {TABLE} SET state = 'expired', expired_reason = 'deleted', expired_at = created_at + interval '60 s'",
    )
    with engine.begin() as conn:
        assert spans(read_waits(conn, TABLE).left) == [span_of(60)]


@pytest.mark.parametrize(
    "made",
    [
        "run_id = 1",
        "received_at = NULL, event_key = NULL, event_id = NULL",
    ],
    ids=["brought by a run", "of the replaced system"],
)
def test_waits_of_others_are_no_past_of_ours_and_are_counted_apart(engine: Engine, made: str) -> None:
    park(engine, "matched", "waiting", ago=7200)
    track(engine, "matched")
    execute(engine, f"UPDATE {TABLE} SET {made}")
    with engine.begin() as conn:
        waits = read_waits(conn, TABLE)
        assert (waits.curve().events, waits.parked, waits.others) == (0, Counter(), 1)
        assert list_older(conn, TABLE, age=timedelta(0), limit=5) == []


def test_what_a_backfill_has_matched_did_not_wait_for_its_mailer(engine: Engine) -> None:
    park(engine, "matched", "backfilled", ago=7200)
    track(engine, "matched", "backfilled")
    execute(engine, "INSERT INTO attribution_runs (kind, parameters) VALUES ('backfill', '{}')")
    execute(
        engine,
        "INSERT INTO attribution_journal (run_id, table_name, row_id, reason)"
        f" SELECT r.id, '{TABLE}', e.id, 'released' FROM attribution_runs AS r, {TABLE} AS e"
        "  WHERE e.event_id = 'backfilled'",
    )
    with engine.begin() as conn:
        assert read_waits(conn, TABLE).curve().events == 1


def test_each_kind_of_event_has_a_past_of_its_own(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, report("d1"))
        sweep(conn, waits=[timedelta(1)], jitter=0, deadline=timedelta(days=7), limit=10)
        assert read_waits(conn, TABLE).curve().events == 0
        assert read_waits(conn, "azure_delivery_events").curve().events == 1


def test_of_very_many_the_newest_are_read(engine: Engine) -> None:
    park(engine, "oldest", ago=5 * 3600)
    park(engine, "older", "newer", ago=2 * 3600)
    with engine.begin() as conn:
        waits = read_waits(conn, TABLE, limit=2)
    assert spans(waits.left) == [span_of(2 * 3600 + 10)] * 2
    assert sum(waits.parked.values()) == 3  # what waits now is counted whole


def test_the_oldest_are_listed_by_age(engine: Engine) -> None:
    park(engine, "young", ago=60)
    park(engine, "old", ago=DAY)
    park(engine, "oldest", ago=2 * DAY)
    with engine.begin() as conn:
        rows = list_older(conn, TABLE, age=timedelta(hours=1), limit=5)
        assert [row.event_id for row in rows] == ["oldest", "old"]
        assert len(list_older(conn, TABLE, age=timedelta(hours=1), limit=1)) == 1


def test_its_index_holds_no_event_that_did_not_wait(engine: Engine) -> None:
    with engine.begin() as conn:
        track_messages(conn, [message()])
        record(conn, *(click(f"e{number}") for number in range(2000)))
    park(engine, "waits")
    execute(engine, f"ANALYZE {TABLE}")
    with engine.begin() as conn:
        entries, rows = conn.execute(
            text(f"SELECT i.reltuples, t.reltuples FROM pg_class AS i, pg_class AS t"
                 f" WHERE i.relname = '{TABLE}_waited' AND t.relname = '{TABLE}'")
        ).one()  # fmt: skip
    assert (entries <= 2, rows > 2000) == (True, True)


@pytest.mark.parametrize("table", [TABLE, "azure_delivery_events"])
def test_no_query_has_to_read_a_whole_table(engine: Engine, table: str) -> None:
    from db.forecast import _QUERIES

    parameters = {
        "edges": [1.0, 10.0],
        "window": timedelta(days=28),
        "lately": timedelta(hours=1),
        "limit": 1000,
        "age": timedelta(1),
    }
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        for name, query in _QUERIES[table].items():
            plan = "\n".join(conn.execute(text(f"EXPLAIN {query.text}"), parameters).scalars())
            assert "Seq Scan on azure_" not in plan, (name, plan)
            assert "Seq Scan on attribution_journal" not in plan, (name, plan)
            if name == "count_waits":
                assert f"{table}_waited" in plan, (name, plan)
