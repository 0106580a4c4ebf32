"""`attribution why` of a message, tracked or not, and of a subscriber."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from sqlalchemy import Engine, text

from db.quarantine import quarantine
from tasks.eventgrid import malformed
from tasks.reasons import Reason
from tests.cli.why.asking import LATE, said, why
from tests.db.listmonk.acts import track, view
from tests.db.listmonk.counts import record
from tests.db.rows import NOW, azure_id, message, report
from worker.queues import TRACKING
from worker.streams import MESSAGES


def test_a_message_tells_who_tracked_it_and_each_of_its_events(engine: Engine) -> None:
    track(engine, message("<M.1@Example.com>".replace("Example", "example"), azure=azure_id(5)))
    record(engine, view("v", "<M.1@example.com>"), report("d", None, azure_id(5)))
    for asked in ("M.1@EXAMPLE.com", str(azure_id(5)), "message:<M.1@example.com>"):
        shown = said(asked)
        assert "Message <M.1@example.com>, tracking row 1" in shown
        assert "for campaign 7, subscriber 12; sent" in shown
        assert f"Azure's own id: {azure_id(5)}" in shown
        assert "v the mail was opened" in shown
        assert "d the mail was reported Delivered" in shown
        assert "counted in campaign_views" in shown


def test_a_message_says_how_many_events_it_has_where_not_all_are_shown(engine: Engine) -> None:
    track(engine)
    record(engine, *(view(f"v{n}", event_timestamp=NOW - timedelta(minutes=n)) for n in range(3)), report("d"))
    asked = ("--message", "m@example.com")
    assert "The oldest 2 of its 4 events; --limit shows more:" in said(*asked, "--limit", "2")
    assert "The oldest" not in said(*asked, "--limit", "4")
    document = json.loads(why(*asked, "--limit", "2", "--format", "json").stdout)
    assert document["total"] == 4
    assert [each["event_id"] for each in document["events"]] == ["v2", "v1"]


def test_a_message_that_nobody_tracked(engine: Engine) -> None:
    record(engine, view("v", LATE))
    shown = said(LATE)
    assert f"Nobody tracked the message {LATE}" in shown
    assert "v the mail was opened parked; not counted" in shown


def test_of_what_nobody_tracked_it_is_said_how_much_waits_to_be_recorded(
    engine: Engine, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTRIBUTION_REDIS_URL", redis_url)
    record(engine, view("v", LATE))
    for asked in (LATE, "v"):
        assert "No handed-in trackings (attribution.tracking, attribution:messages) wait to be recorded" in said(asked)
    redis_client.lpush(TRACKING, "a task", "another")
    redis_client.xadd(MESSAGES, {"body": b"{}"})
    for asked in (LATE, "v"):
        shown = said(asked)
        assert "not recorded yet: 2 in attribution.tracking and 1 in attribution:messages wait." in shown
        assert json.loads(why(asked, "--format", "json").stdout)["untaken"] == {TRACKING: 2, MESSAGES: 1}
    monkeypatch.setenv("ATTRIBUTION_REDIS_URL", "redis://127.0.0.1:1")
    assert "Redis does not answer, so whether handed-in trackings" in said(LATE)
    assert json.loads(why(LATE, "--format", "json").stdout)["untaken"] is None
    track(engine, message(LATE))
    assert "recorded" not in said(LATE)
    assert "untaken" not in json.loads(why(LATE, "--format", "json").stdout)


def test_the_queue_that_is_counted_is_in_the_brokers_own_redis_if_it_has_one(
    engine: Engine, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTRIBUTION_REDIS_URL", redis_url)
    monkeypatch.setenv("ATTRIBUTION_BROKER_URL", "redis://127.0.0.1:1")
    record(engine, view("v", LATE))
    assert "Redis does not answer" in said(LATE)


def test_a_message_whose_tracking_was_refused_or_whose_id_was_replaced(engine: Engine) -> None:
    track(engine)
    body = b'{"campaign_id":8,"internet_message_id":"<m@example.com>"}'
    with engine.begin() as conn:
        quarantine(conn, [malformed("message", Reason.TRACKING_REFUSED, "tracked for another", body, None, NOW)])
        conn.execute(
            text(
                "INSERT INTO attribution_incidents (kind, subject_id, details)"
                " VALUES ('message_id_replaced', 99, CAST(:details AS jsonb))"
            ),
            {
                "details": json.dumps(
                    {
                        "certain": False,
                        "cause": "duplicate",
                        "report": {"internet_message_id": "<new@example.org>"},
                        "candidates": [{"message_id": "<m@example.com>", "campaign_id": 7}],
                    }
                )
            },
        )
    shown = said("<m@example.com>")
    assert "a tracking that may name it could not be taken" in shown
    assert "Reason: tracking_refused" in shown
    assert "ACS has probably replaced a Message-ID: the report of <new@example.org> is of <m@example.com>" in shown
    assert "an earlier mail had the same id" in shown


def test_a_subscribers_events_are_told_newest_first(engine: Engine) -> None:
    track(engine)
    record(engine, *(view(f"v{n}", event_timestamp=NOW - timedelta(minutes=n)) for n in range(3)))
    shown = said("subscriber:12", "--limit", "2")
    assert "Subscriber 12: 3 events; the newest 2:" in shown
    assert shown.index("v0") < shown.index("v1")
    assert "v2" not in shown
