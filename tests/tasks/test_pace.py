"""A drain that cannot read what comes: it slows down, says so once, and goes on when it may."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.drift import dismiss_alarms
from tasks.context import Context, make_context
from tasks.drain import batches_of, drain_each
from tasks.pace import SLOW_BYTES, SLOW_ENTRIES
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import push_events
from worker.settings import WorkerSettings
from worker.telemetry import metrics

#: A key that Azure might begin to use, and what would stand in it.
SECRET = "ada@example.net"


@pytest.fixture
def settings(database_url: str, redis_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, "alarm_least": 100}
    return WorkerSettings(**overrides)


@contextmanager
def another_process(settings: WorkerSettings) -> Iterator[Context]:
    context = make_context(settings)
    yield context
    context.engine.dispose()


def drain(ctx: Context, client: redis.Redis, *bodies: bytes) -> None:
    """Have a process drain these, as it would: read, record, acknowledge, note."""
    push_events(client, *bodies)
    while entries := ctx.consumer.read(count=5000, block=None):
        drain_each(ctx, batches_of(entries, max_bytes=ctx.settings.drain_batch_bytes))


def slowed(ctx: Context) -> bool:
    return ctx.pace.slowed


def look(ctx: Context) -> None:
    """Have the time for a look come."""
    ctx.pace._look_at = 0
    ctx.pace.look(ctx.engine)


def good(count: int) -> bytes:
    return body_of(*(engagement() for _ in range(count)))


def bad(count: int) -> bytes:
    return body_of(*(engagement(userActionTimestamp=f"yesterday, by {SECRET}, {n}") for n in range(count)))


def execute(ctx: Context, statement: str) -> list[Any]:
    with ctx.engine.begin() as conn:
        result = conn.execute(text(statement))
        return list(result.mappings()) if result.returns_rows else []


def alarms(ctx: Context, kind: str = "poison") -> list[dict[str, Any]]:
    return [row["details"] for row in execute(ctx, "SELECT * FROM attribution_incidents ORDER BY id")
            if row["kind"] == kind]  # fmt: skip


def levels(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == level]
    caplog.clear()
    return found


def test_where_everything_is_malformed_the_drain_slows_alarms_once_and_recovers(
    ctx: Context, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    raised = metrics.INCIDENTS.labels("poison")._value.get()
    drain(ctx, redis_client, bad(150))
    assert slowed(ctx)
    assert ctx.pace.limit(5000, 10**6) == (SLOW_ENTRIES, SLOW_BYTES)
    (sentence,) = levels(caplog, logging.ERROR)
    assert sentence == (
        "the drain is slowed: of the last 150 events 150 could not be read (timestamp_invalid 150), and 0 are of a type"
        " or status that this release does not know; see `attribution incidents`"
    )
    for _ in range(3):
        drain(ctx, redis_client, bad(60))
        look(ctx)
    assert levels(caplog, logging.ERROR) == []  # once, however long it lasts
    assert slowed(ctx)
    assert metrics.INCIDENTS.labels("poison")._value.get() == raised + 1
    assert metrics.DRAIN_SLOWED._value.get() == 1

    drain(ctx, redis_client, good(99))
    look(ctx)
    assert slowed(ctx)  # one too few to tell
    drain(ctx, redis_client, good(50))
    look(ctx)
    assert not slowed(ctx)
    assert ctx.pace.limit(5000, 10**6) == (5000, 10**6)
    assert metrics.DRAIN_SLOWED._value.get() == 0
    (alarm,) = alarms(ctx)
    assert (alarm["events"], alarm["malformed"], alarm["reasons"]) == (150, 150, {"timestamp_invalid": 150})
    assert alarm["ended_by"] == "itself"
    assert "this drain process goes on at full speed" in levels(caplog, logging.WARNING)


def test_one_bad_event_in_ten_thousand_and_a_few_at_night_raise_no_alarm(
    ctx: Context, redis_client: redis.Redis
) -> None:
    drain(ctx, redis_client, bad(60))
    look(ctx)
    assert not slowed(ctx)
    drain(ctx, redis_client, *[good(1000)] * 10)
    drain(ctx, redis_client, bad(1))
    look(ctx)
    assert not slowed(ctx)
    assert alarms(ctx) == []


def test_processes_share_what_they_count_and_slow_down_together(
    ctx: Context, settings: WorkerSettings, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither has seen enough for an alarm by itself."""
    with another_process(settings) as other:
        drain(ctx, redis_client, bad(60))
        look(ctx)
        drain(other, redis_client, bad(60))
        look(other)
        assert slowed(other)
        assert not slowed(ctx)
        look(ctx)  # with nothing to do, as it does all the time
        assert slowed(ctx)
        assert len(levels(caplog, logging.ERROR)) == 1
        drain(other, redis_client, good(120))
        look(other)
        look(ctx)
        assert (slowed(ctx), slowed(other)) == (False, False)
    assert len(alarms(ctx)) == 1


def test_a_process_that_starts_under_an_alarm_is_slow_from_the_start(
    ctx: Context, settings: WorkerSettings, redis_client: redis.Redis
) -> None:
    drain(ctx, redis_client, bad(150))
    with another_process(settings) as other:
        other.pace.look(other.engine)
        assert slowed(other)


def test_who_takes_the_place_of_a_slowed_process_that_was_killed_tells_that_nothing_is_slow(ctx: Context) -> None:
    metrics.DRAIN_SLOWED.set(1)  # as the killed one has left it
    look(ctx)
    assert metrics.DRAIN_SLOWED._value.get() == 0


def test_soon_after_it_ended_it_is_the_same_alarm_that_comes_again(
    ctx: Context, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    drain(ctx, redis_client, bad(150))
    drain(ctx, redis_client, good(150))
    look(ctx)
    assert not slowed(ctx)
    assert len(levels(caplog, logging.ERROR)) == 1
    drain(ctx, redis_client, bad(150))
    assert slowed(ctx)
    assert levels(caplog, logging.ERROR) == []
    (alarm,) = alarms(ctx)
    assert (alarm["times"], alarm["ended_at"]) == (2, None)
    drain(ctx, redis_client, good(150))
    look(ctx)
    assert slowed(ctx)  # twice as many are asked for now
    drain(ctx, redis_client, good(50))
    look(ctx)
    assert not slowed(ctx)


def test_an_operator_ends_it_and_it_does_not_come_again_at_once(ctx: Context, redis_client: redis.Redis) -> None:
    drain(ctx, redis_client, bad(150))
    with ctx.engine.begin() as conn:
        assert dismiss_alarms(conn) == (["poison"], 0)
        assert dismiss_alarms(conn) == ([], 0)
    look(ctx)
    assert not slowed(ctx)
    drain(ctx, redis_client, bad(500))
    look(ctx)
    assert not slowed(ctx)
    (alarm,) = alarms(ctx)
    assert alarm["ended_by"] == "operator"
    execute(
        ctx,
        "UPDATE attribution_incidents"
        " SET details = details || jsonb_build_object('ended_at', now() - interval '61 minutes')",
    )
    look(ctx)
    assert slowed(ctx)
    assert len(alarms(ctx)) == 2


def test_before_event_grid_gives_up_it_goes_on_at_full_speed_and_the_alarm_stays(
    ctx: Context, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    drain(ctx, redis_client, bad(150))
    caplog.clear()
    execute(ctx, "UPDATE attribution_incidents SET found_at = now() - interval '12 hours 1 second'")
    look(ctx)
    assert not slowed(ctx)
    (sentence,) = levels(caplog, logging.ERROR)
    assert "nobody has ended it: this drain process goes on at full speed" in sentence
    look(ctx)
    assert levels(caplog, logging.ERROR) == []
    assert alarms(ctx)[0].get("ended_at") is None


def test_an_alarm_that_was_raised_again_does_not_stay_for_ever_and_what_comes_later_slows(
    ctx: Context, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Between what is too little to be afraid of and what it asks for to end, there is no rate at which it stays."""
    for _ in range(2):
        drain(ctx, redis_client, bad(150))
        drain(ctx, redis_client, good(150))
        look(ctx)
    assert slowed(ctx)  # twice as many are asked for
    execute(ctx, "UPDATE attribution_tallies SET counted_at = now() - interval '62 minutes' WHERE malformed > 0")
    execute(
        ctx,
        "UPDATE attribution_incidents SET found_at = now() - interval '14 hours',"
        " details = details || jsonb_build_object('since', now() - interval '61 minutes')",
    )
    look(ctx)
    assert [alarm["ended_by"] for alarm in alarms(ctx)] == ["itself"]
    caplog.clear()
    drain(ctx, redis_client, bad(150))
    assert slowed(ctx)
    assert len(alarms(ctx)) == 2
    assert levels(caplog, logging.ERROR)[0].startswith("the drain is slowed")


def test_an_alarm_from_a_clock_that_was_ahead_ends_as_any_other(ctx: Context, redis_client: redis.Redis) -> None:
    drain(ctx, redis_client, bad(150))
    execute(ctx, "UPDATE attribution_tallies SET counted_at = now() + interval '1 day'")
    execute(
        ctx,
        "UPDATE attribution_incidents SET found_at = now() + interval '1 day', details = details"
        " || jsonb_build_object('since', now() + interval '1 day', 'slows_until', now() + interval '36 hours')",
    )
    look(ctx)
    assert slowed(ctx)
    assert execute(
        ctx,
        "SELECT found_at <= now() AND CAST(details ->> 'slows_until' AS timestamptz) - found_at = '12 hours' AS right"
        " FROM attribution_incidents",
    ) == [{"right": True}]
    drain(ctx, redis_client, good(150))
    look(ctx)
    assert not slowed(ctx)
    assert alarms(ctx)[0]["ended_by"] == "itself"


def test_what_the_database_refuses_counts_as_well(ctx: Context, redis_client: redis.Redis) -> None:
    execute(ctx, "ALTER TABLE azure_engagement_events ADD CHECK (user_agent <> 'refused')")
    drain(ctx, redis_client, *(body_of(engagement(userAgent="refused")) for _ in range(100)))
    assert slowed(ctx)
    assert alarms(ctx)[0]["reasons"] == {"refused_by_database": 100}


def test_while_postgresql_is_away_the_pace_stays_and_nothing_is_forgotten(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(ctx, redis_client, bad(60))

    def away() -> Any:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError("no server"))

    ctx.pace.note(*_nothing())
    with monkeypatch.context() as patch:
        patch.setattr(ctx.engine, "begin", away)
        look(ctx)
        assert not slowed(ctx)
    drain(ctx, redis_client, bad(60))
    look(ctx)
    assert slowed(ctx)
    assert alarms(ctx)[0]["events"] == 120


def _nothing() -> tuple[Any, Any, Any]:
    from tasks.batch import Drained
    from tasks.eventgrid import Parsed

    return Parsed(), [], Drained()


def test_unknown_statuses_slow_the_drain_until_an_operator_accepts_them(
    ctx: Context, redis_client: redis.Redis
) -> None:
    drain(ctx, redis_client, body_of(*(delivery(status="OutForDelivery") for _ in range(120))))
    assert slowed(ctx)
    assert (alarms(ctx)[0]["malformed"], alarms(ctx)[0]["unknown"]) == (0, 120)
    with ctx.engine.begin() as conn:
        assert dismiss_alarms(conn) == (["poison"], 1)
    execute(
        ctx,
        "UPDATE attribution_incidents SET details = details || jsonb_build_object('ended_at', now() - interval '2 h')"
        " WHERE kind = 'poison'",
    )
    execute(ctx, "DELETE FROM attribution_tallies")
    look(ctx)
    drain(ctx, redis_client, body_of(*(delivery(status="OutForDelivery") for _ in range(120))))
    look(ctx)
    assert not slowed(ctx)
    assert execute(ctx, "SELECT sum(unknown) AS unknown FROM attribution_tallies")[0]["unknown"] == 0


def test_new_keys_and_statuses_are_told_once_by_their_keys_and_never_with_a_value(
    ctx: Context, settings: WorkerSettings, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    before = metrics.INCIDENTS.labels("drift")._value.get()
    body = body_of(
        delivery(region=SECRET, status="OutForDelivery"),
        delivery(**{SECRET: SECRET}),
        engagement(engagementType=SECRET),
    )
    drain(ctx, redis_client, body)
    look(ctx)
    with another_process(settings) as other:
        drain(other, redis_client, body)
        look(other)
    found = alarms(ctx, "drift")
    assert {"of": "data_key", "key": "region"} in found
    assert {"of": "status"} in found
    assert {"of": "engagement_type"} in found
    assert len(found) == 3
    (sentence,) = levels(caplog, logging.ERROR)
    assert sentence.startswith("Azure sends what this release does not know: keys region; a new engagement type; a new")
    assert metrics.INCIDENTS.labels("drift")._value.get() == before + 3
    kept = execute(ctx, "SELECT * FROM attribution_names") + execute(ctx, "SELECT * FROM attribution_incidents")
    kept += execute(ctx, "SELECT * FROM attribution_tallies")
    for told in (repr(kept), sentence, "OutForDelivery" * ("OutForDelivery" in json.dumps(found))):
        assert SECRET not in told
    assert "OutForDelivery" not in sentence + json.dumps(found)


def test_names_without_end_fill_no_table(ctx: Context, redis_client: redis.Redis) -> None:
    names = [f"key{a}{b}" for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghij"]
    for begin in range(0, len(names), 10):
        keys: dict[str, Any] = dict.fromkeys(names[begin : begin + 10], 1)
        drain(ctx, redis_client, body_of(engagement(**keys)))
        look(ctx)
    assert len(names) == 260
    assert execute(ctx, "SELECT count(*) AS names FROM attribution_names")[0]["names"] == 200


def test_engagements_that_lose_their_message_id_alarm_with_their_keys_and_slow_nothing(
    ctx: Context, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    drain(ctx, redis_client, body_of(*(engagement(internet_message_id=None) for _ in range(120)), *[delivery()] * 9))
    look(ctx)
    assert not slowed(ctx)
    (alarm,) = alarms(ctx, "id_missing")
    assert (alarm["events"], alarm["bad"]) == (120, 120)
    assert {"messageId", "engagementType"} <= set(alarm["keys"])
    assert SECRET not in json.dumps(alarm)
    (sentence,) = levels(caplog, logging.ERROR)
    assert sentence.startswith("120 of 120 engagement events carry no internetMessageId")
    drain(ctx, redis_client, good(120))
    look(ctx)
    assert alarms(ctx, "id_missing")[0]["ended_by"] == "itself"
    assert levels(caplog, logging.ERROR) == []


def test_tallies_that_are_old_or_of_the_future_are_purged(ctx: Context, redis_client: redis.Redis) -> None:
    from tasks.purging import purge_classes

    drain(ctx, redis_client, good(1))
    look(ctx)
    execute(
        ctx,
        "INSERT INTO attribution_tallies (counted_at, events, malformed, unknown, engagements, without_id)"
        " SELECT now() + days * interval '1 day', 1, 0, 0, 0, 0 FROM unnest(ARRAY[-3, -3, 1]) AS days",
    )
    assert dict(purge_classes(ctx))["tallies"] == 3
    assert execute(ctx, "SELECT count(*) AS tallies FROM attribution_tallies")[0]["tallies"] == 1
