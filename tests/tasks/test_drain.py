"""From the stream to committed rows: order of acknowledgement, crashes, poison, and a database that is away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from tasks import drain as drain_module
from tasks import patience
from tasks.batch import Drained
from tasks.context import Context
from tasks.drain import APART_TRIES, batches_of, drain_abandoned, drain_batch, retire_exhausted
from tasks.reasons import Reason
from tests.db.rows import stored
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages
from tests.waiting import eventually
from worker.stream_consumer import Entry
from worker.streams import EVENTS, MESSAGES

TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}


def quarantined(engine: Engine) -> list[tuple[str, bytes]]:
    with engine.begin() as conn:
        rows = conn.execute(text("SELECT reason, body FROM attribution_quarantine ORDER BY id"))
        return [(row.reason, bytes(row.body)) for row in rows]


def test_an_event_goes_from_the_stream_to_its_campaign(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement("e1"), delivery("d1")))
    push_messages(redis_client, TRACKING)
    drained = drain(ctx)
    assert (drained.tracked, drained.attributed, drained.parked) == (1, {"internet_message_id": 2}, 0)
    assert str(drained) == "attributed 2, taught 1, tracked 1"
    assert stored(ctx.engine)["e1"] == ("attributed", 7, 12, "internet_message_id")
    assert backlog(redis_client) == (0, 0)


def test_messages_are_drained_before_events_so_that_fewer_park(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement("e1")))
    push_messages(redis_client, TRACKING)
    entries = ctx.consumer.read(count=10, block=None)
    assert [batch.stream for batch in batches_of(entries, max_bytes=1000)] == [MESSAGES, EVENTS]


def test_an_open_that_overtakes_its_message_is_parked_and_released_before_the_tracking_is_acknowledged(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_events(redis_client, body_of(engagement("e1")))
    assert drain(ctx).parked == 1
    push_messages(redis_client, TRACKING)
    seen: list[str] = []
    acknowledge = type(ctx.consumer).acknowledge

    def look(self: Any, entries: Any) -> None:
        seen.append(stored(ctx.engine)["e1"][0])
        acknowledge(self, entries)

    monkeypatch.setattr(type(ctx.consumer), "acknowledge", look)
    assert drain(ctx).released == 1
    assert seen == ["attributed"]


def test_a_report_that_came_before_its_message_teaches_when_the_message_is_tracked(
    ctx: Context, redis_client: redis.Redis
) -> None:
    """The open has Azure's id only; the report ties that to the Message-ID, and the message that to a campaign."""
    push_events(redis_client, body_of(engagement("open", internet_message_id=None), delivery("report")))
    assert drain(ctx).parked == 2
    push_messages(redis_client, TRACKING)
    assert drain(ctx).released == 2
    assert stored(ctx.engine)["open"] == ("attributed", 7, 12, "delivery_report")


def test_batches_are_cut_by_size_and_a_large_body_is_one_by_itself() -> None:
    entries = [Entry(EVENTS, f"{n}-0", b"x" * size, 1) for n, size in enumerate((4, 4, 4, 20, 4))]
    assert [len(batch.entries) for batch in batches_of(entries, max_bytes=10)] == [2, 1, 1, 1]
    assert [entry for batch in batches_of(entries, max_bytes=10) for entry in batch.entries] == entries


@pytest.mark.parametrize("stream", [MESSAGES, EVENTS])
@pytest.mark.parametrize("moment", ["before_commit", "after_commit", "after_re_check"])
def test_a_drain_killed_at_any_moment_is_made_good_by_the_next(
    moment: str, stream: str, ctx: Context, redis_client: redis.Redis, database_url: str, redis_url: str
) -> None:
    push_events(redis_client, body_of(*(engagement(f"e{n}") for n in range(50)), delivery("d1"), "junk"))
    push_messages(redis_client, TRACKING, {"internet_message_id": "<other@mail.example.com>", "campaign_id": 8})
    dying = subprocess.run(
        [sys.executable, "-m", "tests.tasks.dying_drain", moment, stream],
        env={"ATTRIBUTION_DATABASE_URL": database_url, "ATTRIBUTION_REDIS_URL": redis_url},
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert dying.returncode == -signal.SIGKILL
    assert backlog(redis_client)[0] > 0
    drain(ctx)
    assert backlog(redis_client) == (0, 0)
    assert len(stored(ctx.engine)) == 50
    assert set(stored(ctx.engine).values()) == {("attributed", 7, 12, "internet_message_id")}
    assert stored(ctx.engine, "azure_delivery_events") == {"d1": ("attributed", 7, 12, "internet_message_id")}
    assert quarantined(ctx.engine) == [(Reason.NOT_AN_EVENT, b'"junk"')]
    with ctx.engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM azure_message_tracking")).scalar_one() == 2


POISON = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.event_id LIKE 'poison%' THEN RAISE EXCEPTION 'bad value' USING ERRCODE = '22000'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON azure_engagement_events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def test_poison_is_halved_out_of_its_batch_and_quarantined_alone(ctx: Context, redis_client: redis.Redis) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text(POISON))
    poison = engagement("poison-1")
    bodies = [body_of(engagement(f"a{n}")) for n in range(7)]
    bodies[3:3] = [body_of(engagement("b1"), poison, engagement("b2")), body_of(engagement("poison-2"))]
    push_events(redis_client, *bodies)
    drained = drain(ctx)
    assert drained.quarantined == {Reason.REFUSED_BY_DATABASE: 2}
    assert sorted(stored(ctx.engine)) == [*(f"a{n}" for n in range(7)), "b1", "b2"]
    kept = {
        json.loads(body)["id"] if body[:1] == b"{" else json.loads(body)[0]["id"] for _, body in quarantined(ctx.engine)
    }
    assert kept == {"poison-1", "poison-2"}
    assert {reason for reason, _ in quarantined(ctx.engine)} == {Reason.REFUSED_BY_DATABASE}
    assert backlog(redis_client) == (0, 0)


def test_poison_among_trackings_costs_only_itself(ctx: Context, redis_client: redis.Redis) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text("ALTER TABLE azure_message_tracking ADD CONSTRAINT no13 CHECK (campaign_id <> 13)"))
    push_messages(redis_client, *({"internet_message_id": f"<m{n}@x>", "campaign_id": n} for n in range(11, 16)))
    drained = drain(ctx)
    assert (drained.tracked, drained.quarantined) == (4, {Reason.REFUSED_BY_DATABASE: 1})
    ((_, body),) = quarantined(ctx.engine)
    assert json.loads(body)["campaign_id"] == 13


KILLER = b'{"this": "ends the process"}'


def drain_until_exhausted(ctx: Context) -> None:
    """Claim and work what is pending; a batch with the killer in it ends its process, and nothing of it is done."""
    for _ in range(50):
        ctx.consumer.read(count=1000, block=None)
        claimed = ctx.consumer.claim(min_idle=timedelta(0), max_deliveries=5, count=320)
        if claimed.exhausted:
            retire_exhausted(ctx.consumer, ctx.engine, ctx.pipelines[EVENTS], claimed.exhausted, max_deliveries=5)
            return
        if any(KILLER in entry.body for entry in claimed.entries):
            continue
        for batch in batches_of(claimed.entries, max_bytes=10**6):
            drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[EVENTS], batch)
    raise AssertionError("nothing was exhausted")


def test_an_entry_that_keeps_ending_its_drain_is_quarantined_alone(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, *(body_of(engagement(f"e{n}")) for n in range(20)), KILLER)
    drain_until_exhausted(ctx)
    assert len(stored(ctx.engine)) == 20
    assert quarantined(ctx.engine) == [(Reason.DELIVERED_TOO_OFTEN, KILLER)]
    assert backlog(redis_client) == (0, 0)


def test_an_element_that_keeps_ending_its_drain_costs_its_neighbours_in_the_body_nothing(
    ctx: Context, redis_client: redis.Redis
) -> None:
    push_events(
        redis_client, b"[" + b",".join([*(json.dumps(engagement(f"e{n}")).encode() for n in range(5)), KILLER]) + b"]"
    )
    drain_until_exhausted(ctx)  # the body is taken apart
    assert backlog(redis_client) == (6, 0)
    assert quarantined(ctx.engine) == []
    drain_until_exhausted(ctx)  # the culprit is alone
    assert stored(ctx.engine).keys() == {f"e{n}" for n in range(5)}
    assert quarantined(ctx.engine) == [(Reason.DELIVERED_TOO_OFTEN, KILLER)]
    assert backlog(redis_client) == (0, 0)


def test_a_body_that_ends_the_process_that_takes_it_apart_is_quarantined_whole(
    ctx: Context, redis_client: redis.Redis
) -> None:
    body = b"[" + KILLER + b"," + KILLER + b"]"
    push_events(redis_client, body)
    ctx.consumer.read(count=1, block=None)
    for _ in range(4):
        assert not ctx.consumer.claim(min_idle=timedelta(0), max_deliveries=5, count=320).exhausted
    for _ in range(APART_TRIES):  # and died in taking it apart
        assert ctx.consumer.claim(min_idle=timedelta(0), max_deliveries=5, count=320).exhausted
    drain_until_exhausted(ctx)
    assert quarantined(ctx.engine) == [(Reason.DELIVERED_TOO_OFTEN, body)]
    assert backlog(redis_client) == (0, 0)


def test_a_full_redis_is_not_held_against_a_body_that_is_to_be_taken_apart(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_events(redis_client, b"[" + KILLER + b"," + KILLER + b"]")
    refused: list[str] = []

    def refuse(stream: str, *_more: object) -> None:
        refused.append(stream)
        raise redis.exceptions.OutOfMemoryError("used memory > maxmemory")

    with monkeypatch.context() as full:
        full.setattr(ctx.consumer, "append", refuse)
        for _ in range(3):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                drain_until_exhausted(ctx)
    assert refused == [EVENTS] * 3
    drain_until_exhausted(ctx)
    assert backlog(redis_client) == (2, 0)
    assert quarantined(ctx.engine) == []


def test_while_postgresql_is_away_nothing_exhausted_is_held_to_blame_for_it(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", timedelta(seconds=0.05))
    lone, several = KILLER, b"[" + KILLER + b"," + KILLER + b"]"
    push_events(redis_client, lone, several)
    taken = ctx.consumer.read(count=2, block=None)
    exhausted = [entry._replace(deliveries=ctx.settings.max_deliveries + 1) for entry in taken]
    ctx.consumer.give_back(exhausted)
    with monkeypatch.context() as away:
        away.setattr(ctx.engine, "begin", _away)
        for _ in range(APART_TRIES + 2):
            with pytest.raises(OperationalError):
                eventually(lambda: _assert_claimed(ctx))
    eventually(lambda: _assert_retired(ctx))
    assert quarantined(ctx.engine) == [(Reason.DELIVERED_TOO_OFTEN, lone)]
    assert backlog(redis_client) == (2, 0)  # the elements of the other


def _assert_retired(ctx: Context) -> None:
    drain_abandoned(ctx)
    assert quarantined(ctx.engine)


def test_while_postgresql_is_away_entries_stay_pending_and_are_not_held_against_them(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", timedelta(seconds=0.2))
    push_events(redis_client, body_of(engagement("e1")))
    real = ctx.engine.begin
    monkeypatch.setattr(ctx.engine, "begin", _away)
    for _ in range(ctx.settings.max_deliveries + 2):
        with pytest.raises(OperationalError):
            drain(ctx)
        assert backlog(redis_client) == (1, 1)
    monkeypatch.setattr(ctx.engine, "begin", real)
    assert drain(ctx).parked == 1
    assert quarantined(ctx.engine) == []


def _away() -> Any:
    raise OperationalError("SELECT 1", {}, ConnectionRefusedError("no server"), connection_invalidated=True)


def test_what_waits_behind_a_failing_batch_is_not_held_to_blame(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", timedelta(seconds=0.05))
    push_messages(redis_client, TRACKING)
    push_events(redis_client, body_of(engagement("e1")))
    ctx.consumer.read(count=10, block=None)  # and the process died
    with monkeypatch.context() as away:
        away.setattr(ctx.engine, "begin", _away)
        for _ in range(ctx.settings.max_deliveries + 2):
            with pytest.raises(OperationalError):
                eventually(lambda: _assert_claimed(ctx))
    drain(ctx)
    assert quarantined(ctx.engine) == []
    assert stored(ctx.engine)["e1"][0] == "attributed"


def _assert_claimed(ctx: Context) -> None:
    drain_abandoned(ctx)  # raises as soon as it finds something to work on
    raise AssertionError("nothing was due yet")


def test_an_entry_whose_id_is_no_time_is_drained_like_any_other(ctx: Context, redis_client: redis.Redis) -> None:
    redis_client.xadd(EVENTS, {"body": body_of(engagement("e1"))}, id="1700000000000000000-0")
    assert drain(ctx).parked == 1


def test_a_fault_of_ours_quarantines_nothing(ctx: Context, redis_client: redis.Redis) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text("ALTER TABLE azure_engagement_events RENAME COLUMN user_agent TO gone"))
    push_events(redis_client, body_of(engagement("e1")))
    with pytest.raises(ProgrammingError):
        drain(ctx)
    assert quarantined(ctx.engine) == []
    assert backlog(redis_client) == (1, 1)


@pytest.mark.parametrize("telling", ["metrics.observe_batch", "batch_log.tell"])
def test_a_fault_in_what_is_told_of_a_batch_does_not_keep_it_from_being_acknowledged(
    ctx: Context,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    telling: str,
) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(f"tasks.drain.{telling}", fail)
    push_events(redis_client, body_of(engagement("e1")))
    assert drain(ctx).parked == 1
    assert backlog(redis_client) == (0, 0)
    assert "a recorded batch could not be told of" in caplog.text


def test_transient_failures_are_tried_again_within_the_batch(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = ctx.engine.begin, iter([True, True])
    monkeypatch.setattr(ctx.engine, "begin", lambda: _away() if next(failures, False) else real())
    push_events(redis_client, body_of(engagement("e1")))
    assert drain(ctx).parked == 1


def test_an_entry_of_a_stranger_without_a_body_is_quarantined(ctx: Context, redis_client: redis.Redis) -> None:
    redis_client.xadd(EVENTS, {"nonsense": "1"})
    redis_client.xadd(MESSAGES, {"nonsense": "1"})
    assert drain(ctx).quarantined == {Reason.NOT_JSON: 1, Reason.TRACKING_INVALID: 1}
    assert backlog(redis_client) == (0, 0)


def test_a_lost_group_is_made_anew_at_the_beginning(ctx: Context, redis_client: redis.Redis) -> None:
    redis_client.flushdb()
    push_events(redis_client, body_of(engagement("e1")))
    assert drain(ctx).parked == 1


def test_the_task_drains_both_streams_and_says_what_it_did(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.drain.context", lambda: ctx)
    push_messages(redis_client, TRACKING)
    push_events(redis_client, body_of(engagement("e1"), engagement("e2", internet_message_id="<x@y>")))
    assert drain_module.drain_events.run() == "attributed 1, parked 1, tracked 1"
    assert drain_module.drain_events.run() == "nothing to do"


def test_counts_of_batches_add_up() -> None:
    total = Drained(attributed={"header": 1}, parked=2)
    total += Drained(attributed={"header": 2, "azure_message_id": 1}, quarantined={"not_json": 1}, released=3)
    assert total == Drained(
        attributed={"header": 3, "azure_message_id": 1}, parked=2, released=3, quarantined={"not_json": 1}
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@st.composite
def _hostile_body(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(max_size=60))
    event = draw(st.sampled_from([engagement, delivery]))()
    target = draw(st.sampled_from([event, event["data"]]))
    target[draw(st.sampled_from(sorted(target)))] = draw(_JSON)
    return body_of(event)


@given(
    bodies=st.lists(_hostile_body(), min_size=1, max_size=8),
    trackings=st.lists(st.binary(max_size=40) | _JSON.map(lambda value: json.dumps(value).encode()), max_size=4),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_on_the_streams_nothing_raises_nothing_is_lost_and_neighbours_go_through(
    ctx: Context, redis_client: redis.Redis, bodies: list[bytes], trackings: list[bytes]
) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text("TRUNCATE azure_engagement_events, azure_delivery_events, attribution_quarantine"))
    push_events(redis_client, body_of(engagement("before")), *bodies, body_of(engagement("after")))
    for tracking in trackings:
        redis_client.xadd(MESSAGES, {"body": tracking})
    drained = drain(ctx)
    assert backlog(redis_client) == (0, 0)
    assert {"before", "after"} <= stored(ctx.engine).keys()
    held = len(stored(ctx.engine)) + len(stored(ctx.engine, "azure_delivery_events"))
    assert held == sum(drained.attributed.values()) + drained.parked
    with ctx.engine.begin() as conn:
        kinds = conn.execute(text("SELECT count(*) FROM attribution_quarantine WHERE kind = 'event'")).scalar_one()
    parts = held + drained.duplicates + drained.ignored + kinds
    empty = sum(body.strip() == b"[]" for body in bodies)
    assert parts >= len({*bodies}) - empty + 2
