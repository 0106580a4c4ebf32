"""A call of a mailer may name a million messages: it is cut, and no piece outlasts what a piece may take."""

from __future__ import annotations

import json
import signal
import threading
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest
import redis
from celery.exceptions import Retry, SoftTimeLimitExceeded
from sqlalchemy import text

from tasks import messages, patience, track
from tasks.batch import Body, Drained, work
from tasks.context import Context, make_context
from tasks.drain import batches_of, drain_each
from tasks.drainer import Drainer
from tasks.messages import cut_call
from tests.db.rows import stored
from tests.tasks.payloads import RECEIVED_AT, body_of, engagement
from tests.tasks.streams import backlog, drain, push_events
from tests.waiting import eventually
from worker import stream_consumer
from worker.settings import WorkerSettings
from worker.streams import GROUP, MESSAGES

HOUR = timedelta(hours=1)
NUMBERS = range(1, 8)
CALL = [{"internet_message_id": f"<m{number}@example.com>", "campaign_id": number} for number in NUMBERS]


@pytest.fixture(autouse=True)
def _short_calls(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.track.context", lambda: ctx)
    for module in (messages, track):
        monkeypatch.setattr(module, "CALL", 3)


def park_one_of_each(ctx: Context, client: redis.Redis) -> None:
    push_events(
        client,
        *(body_of(engagement(f"e{number}", internet_message_id=f"<m{number}@example.com>")) for number in NUMBERS),
    )
    assert drain(ctx).parked == len(NUMBERS)


def campaigns(ctx: Context) -> dict[str, int | None]:
    """Return the campaign of each event that is attributed."""
    return {name: campaign for name, (state, campaign, *_) in stored(ctx.engine).items() if state == "attributed"}


EACH_TO_ITS_OWN = {f"e{number}": number for number in NUMBERS}


# The Celery door.


def test_a_task_puts_a_long_call_onto_the_stream_in_pieces_and_the_drain_does_the_rest(
    ctx: Context, redis_client: redis.Redis
) -> None:
    park_one_of_each(ctx, redis_client)
    assert track.track_messages.run(CALL) == "handed to the stream"
    entries: Any = redis_client.xrange(MESSAGES)
    assert [json.loads(fields[b"body"]) for _, fields in entries] == [CALL[:3], CALL[3:6], CALL[6:]]
    assert campaigns(ctx) == {}
    assert drain(ctx).released == 7
    assert campaigns(ctx) == EACH_TO_ITS_OWN


def test_a_task_works_a_short_call_itself(ctx: Context, redis_client: redis.Redis) -> None:
    assert track.track_messages.run(CALL[:3]) == "tracked 3"
    assert redis_client.xlen(MESSAGES) == 0


def test_many_pieces_go_in_writes_of_some_megabytes(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_consumer, "_WRITE_BYTES", 1000)
    writes: list[int] = []
    execute = redis.client.Pipeline.execute

    def count(self: Any, *args: Any) -> Any:
        writes.append(len(self.command_stack))
        return execute(self, *args)

    monkeypatch.setattr(redis.client.Pipeline, "execute", count)
    ctx.consumer.append(MESSAGES, (bytes(100) for _ in range(8)))
    assert redis_client.xlen(MESSAGES) == 8
    assert writes == [3, 3, 2]


@pytest.mark.parametrize("call", [CALL, CALL[:3]], ids=["long", "short"])
def test_a_task_whose_time_is_up_is_tried_again_if_there_is_none_left_to_hand_over(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, call: list[dict[str, Any]]
) -> None:
    def too_late(*_args: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(track, "work", too_late)
    monkeypatch.setattr(ctx.consumer, "append", too_late)
    monkeypatch.setattr(track.track_messages, "retry", lambda **_options: Retry("again"))
    with pytest.raises(Retry):
        track.track_messages.run(call)


def test_a_task_whose_time_is_up_in_the_midst_of_a_statement_hands_its_call_over(
    ctx: Context, redis_client: redis.Redis
) -> None:
    """Celery raises in the midst of whatever there is. The statement runs on, and nothing can be rolled back."""

    def raise_it(_signal: int, _frame: FrameType | None) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        with ctx.engine.connect() as operator:
            operator.execute(text("LOCK TABLE azure_message_tracking"))
            signal.setitimer(signal.ITIMER_REAL, 1)
            assert track.track_messages.run(CALL[:3]) == "handed to the stream"
            operator.rollback()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert redis_client.xlen(MESSAGES) == 1
    assert drain(ctx).tracked == 3


# The stream's door.


def push_call(client: redis.Redis, body: bytes) -> None:
    client.xadd(MESSAGES, {"body": body})


def test_a_long_call_on_the_stream_is_cut_into_entries_that_are_drained_each_by_itself(
    settings: WorkerSettings, redis_client: redis.Redis
) -> None:
    ctx = make_context(settings.model_copy(update={"drain_batch_bytes": 300}))
    park_one_of_each(ctx, redis_client)
    push_call(redis_client, json.dumps(CALL).encode())
    (batch,) = batches_of(ctx.consumer.read(count=10, block=None), max_bytes=300)
    assert batch.long
    ctx.consumer.give_back(batch.entries)
    drained = drain(ctx)
    assert (drained.tracked, drained.released) == (7, 7)
    assert redis_client.xinfo_stream(MESSAGES)["entries-added"] == 1 + 3
    assert backlog(redis_client) == (0, 0)
    assert campaigns(ctx) == EACH_TO_ITS_OWN
    ctx.engine.dispose()


def test_a_drain_killed_between_cutting_and_acknowledging_has_the_call_cut_again_and_tracked_once(
    settings: WorkerSettings, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make_context(settings.model_copy(update={"drain_batch_bytes": 300}))
    push_call(redis_client, json.dumps(CALL).encode())

    def dies(*_args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as mortal:
        mortal.setattr(ctx.consumer, "acknowledge", dies)
        with pytest.raises(SystemExit):
            drain(ctx)
    drained = Drained()

    def assert_drained() -> None:
        nonlocal drained
        drained += drain(ctx)  # takes over what was left only when it has been idle for a while
        assert backlog(redis_client) == (0, 0)

    eventually(assert_drained)
    assert (drained.tracked, drained.known) == (7, 7)
    ctx.engine.dispose()


def test_a_full_redis_has_no_room_for_the_pieces_and_the_call_is_worked_as_it_is(
    ctx: Context, redis_client: redis.Redis, settings: WorkerSettings
) -> None:
    small = make_context(settings.model_copy(update={"drain_batch_bytes": 300}))
    push_call(redis_client, json.dumps(CALL).encode())
    before = str(redis_client.config_get("maxmemory")["maxmemory"])
    redis_client.config_set("maxmemory", 1)
    try:
        assert drain(small).tracked == 7
    finally:
        redis_client.config_set("maxmemory", before)
    assert backlog(redis_client) == (0, 0)
    small.engine.dispose()


def test_a_short_call_stays_as_it_is() -> None:
    for body in (b"{}", json.dumps(CALL[:3]).encode(), b"no json", b"", b'{"a": 1}\n{"a": 2}\n{"a": 3}'):
        assert cut_call(body) == [body]


def test_a_long_call_is_cut_whatever_its_form_and_what_is_no_json_stands_alone() -> None:
    lines = b"\n".join(json.dumps(each).encode() for each in CALL)
    for body in (json.dumps(CALL, indent=1).encode(), lines):
        assert [json.loads(piece) for piece in cut_call(body)] == [CALL[:3], CALL[3:6], CALL[6:]]
    broken = lines.replace(b'"campaign_id": 2', b'"campaign_id": ')
    assert [piece[:1] for piece in cut_call(broken)] == [b"{", b"[", b"["]
    rest = [json.loads(piece) for piece in cut_call(broken)[1:]]
    assert [each["campaign_id"] for piece in rest for each in piece] == [1, 3, 4, 5, 6, 7]


def test_whoever_has_no_time_for_all_that_he_took_hands_the_rest_back(ctx: Context, redis_client: redis.Redis) -> None:
    for each in CALL:
        push_call(redis_client, json.dumps(each).encode())
    batches = batches_of(ctx.consumer.read(count=10, block=None), max_bytes=1)
    time_left = iter([False, True])
    assert drain_each(ctx, batches, lambda: next(time_left)).tracked == 2
    assert backlog(redis_client) == (5, 5)
    (claimed,) = {entry.deliveries for entry in ctx.consumer.claim(min_idle=HOUR, max_deliveries=5, count=100).entries}
    assert claimed == 1  # that they had been taken does not count


def test_what_is_held_is_not_taken_for_abandoned_and_not_counted_as_delivered(
    ctx: Context, redis_client: redis.Redis
) -> None:
    push_call(redis_client, json.dumps(CALL).encode())
    entries = ctx.consumer.read(count=10, block=None)
    ctx.consumer.give_back(entries)  # idle for a day
    with ctx.consumer.holding(entries):
        ctx.consumer.keep_held()
    assert ctx.consumer.claim(min_idle=HOUR, max_deliveries=5, count=10).entries == []
    ctx.consumer.keep_held()  # nothing is held any more
    (pending,) = redis_client.xpending_range(MESSAGES, GROUP, "-", "+", 10)
    assert pending["times_delivered"] == 0


def test_what_was_acknowledged_meanwhile_is_not_made_pending_again(ctx: Context, redis_client: redis.Redis) -> None:
    push_call(redis_client, json.dumps(CALL).encode())
    entries = ctx.consumer.read(count=10, block=None)
    with ctx.consumer.holding(entries):
        ctx.consumer.acknowledge(entries)
        ctx.consumer.keep_held()
    assert backlog(redis_client) == (0, 0)


def test_a_drain_process_keeps_hold_of_a_batch_for_as_long_as_it_works_on_it(
    settings: WorkerSettings, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make_context(settings.model_copy(update={"claim_after": timedelta(seconds=0.2)}))
    kept: list[int] = []
    keep_held = ctx.consumer.keep_held

    def count() -> None:
        kept.append(len(ctx.consumer._held))
        keep_held()

    monkeypatch.setattr(ctx.consumer, "keep_held", count)
    push_call(redis_client, json.dumps(CALL[:3]).encode())
    drainer = Drainer(ctx)
    draining = threading.Thread(target=drainer.run)

    def assert_kept() -> None:
        assert kept.count(1) > 4

    def assert_drained() -> None:
        assert backlog(redis_client) == (0, 0)

    with ctx.engine.connect() as operator:
        operator.execute(text("LOCK TABLE azure_message_tracking"))
        draining.start()
        eventually(assert_kept, within=20)
        operator.rollback()
    eventually(assert_drained, within=20)
    drainer.stop()
    draining.join(20)
    assert not draining.is_alive()
    ctx.engine.dispose()


# Either.


def test_a_call_that_takes_longer_than_a_statement_may_is_halved(
    settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", timedelta(0))
    ctx = make_context(settings.model_copy(update={"statement_timeout": timedelta(seconds=0.5)}))
    with ctx.engine.begin() as conn:
        conn.execute(
            text(
                "CREATE FUNCTION sleep_over_many() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF (SELECT count(*) > 2 FROM new_rows) THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$"
            )
        )
        conn.execute(
            text(
                "CREATE TRIGGER slow AFTER INSERT ON azure_message_tracking REFERENCING NEW TABLE AS new_rows"
                " FOR EACH STATEMENT EXECUTE FUNCTION sleep_over_many()"
            )
        )
    pipeline = ctx.pipelines[MESSAGES]
    assert work(pipeline, ctx.engine, [Body(json.dumps(CALL).encode(), None, RECEIVED_AT)]).tracked == 7
    ctx.engine.dispose()
