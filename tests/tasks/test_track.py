"""The Celery door: whatever a mailer enqueues is tracked, handed to the stream, or quarantined; never lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import redis
from celery.exceptions import Retry
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tasks import track  # the module: pytest looks into every name it collects, and a task looks up Celery's settings
from tasks.context import Context
from tests.db.rows import stored
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import drain, push_events
from worker.streams import MESSAGES


@pytest.fixture(autouse=True)
def _in_this_process(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.track.context", lambda: ctx)


def tracked(ctx: Context) -> list[tuple[str | None, int, int | None, str]]:
    with ctx.engine.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT internet_message_id, campaign_id, subscriber_id, tracked_via FROM azure_message_tracking"
                " ORDER BY internet_message_id"
            )
        )
        return [tuple(row) for row in rows]


def test_one_message_by_keywords_or_in_order(ctx: Context) -> None:
    assert track.track_message.run(internet_message_id="a@Example.com", campaign_id=7, subscriber_id=12) == "tracked 1"
    assert track.track_message.run("<b@example.com>", 8) == "tracked 1"
    assert track.track_message.run("<a@example.com>", 7) == "known 1"
    assert tracked(ctx) == [("<a@example.com>", 7, 12, "celery"), ("<b@example.com>", 8, None, "celery")]


def test_many_messages_release_what_waited_for_them(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement("e1", internet_message_id="<m1@example.com>")))
    drain(ctx)
    result = track.track_messages.run(
        [{"internet_message_id": f"<m{n}@example.com>", "campaign_id": n} for n in range(1, 4)]
    )
    assert result == "released 1, tracked 3"
    assert stored(ctx.engine)["e1"] == ("attributed", 1, None, "internet_message_id")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("a", 1, 2, 3, 4, 5, 6, 7), {}),
        ((), {"internet_message_id": "<a@x>"}),
        ((), {"internet_message_id": "<a@x>", "campaign_id": "seven"}),
        ((), {"recipient": "ada@example.net"}),
    ],
)
def test_a_call_with_wrong_arguments_is_quarantined(ctx: Context, args: Any, kwargs: Any) -> None:
    assert track.track_message.run(*args, **kwargs).startswith("quarantined")
    assert tracked(ctx) == []


@pytest.mark.parametrize("messages", [None, 3, "text", {"campaign_id": 1}, [1, None, []], [[{"campaign_id": 1}]]])
def test_a_list_that_is_none_is_quarantined(ctx: Context, messages: Any) -> None:
    assert track.track_messages.run(messages).startswith("quarantined")
    assert tracked(ctx) == []


def test_one_message_that_is_no_json_to_us_costs_only_itself(ctx: Context) -> None:
    good = {"internet_message_id": "<a@example.com>", "campaign_id": 7}
    bad = {"internet_message_id": "\ud800", "campaign_id": 7}
    assert track.track_messages.run([good, bad, good | {"internet_message_id": "<b@example.com>"}]) == (
        "tracked 2, quarantined 1"
    )


def test_no_messages_are_nothing_to_do(ctx: Context) -> None:
    assert track.track_messages.run([]) == "nothing to do"


def _away(*_: Any) -> Any:
    raise OperationalError("SELECT 1", {}, ConnectionRefusedError("no server"), connection_invalidated=True)


def test_while_postgresql_is_away_trackings_move_to_their_stream(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr("tasks.track.work", _away)
        assert track.track_message.run("<a@example.com>", 7) == "handed to the stream"
    assert redis_client.xlen(MESSAGES) == 1
    assert drain(ctx).tracked == 1
    assert tracked(ctx) == [("<a@example.com>", 7, None, "stream")]


def test_while_redis_is_away_as_well_the_task_is_tried_again(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_bodies: Iterable[bytes]) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr("tasks.track.work", _away)
    monkeypatch.setattr(ctx.consumer, "append", unreachable)
    asked: list[dict[str, Any]] = []

    def retry(**options: Any) -> Retry:
        asked.append(options)
        return Retry("again")

    monkeypatch.setattr(track.track_message, "retry", retry)
    with pytest.raises(Retry):
        track.track_message.run("<a@example.com>", 7)
    assert 0 < asked[0]["countdown"] <= 60
