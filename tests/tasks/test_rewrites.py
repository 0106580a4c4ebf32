"""The task of the rewrite alarm: what it notes, of which cause, and that it says nothing twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import text

from db.suspicion import Candidate
from tasks import rewrites
from tasks.context import Context
from tests.tasks.payloads import body_of, delivery
from tests.tasks.streams import drain, push_events, push_messages
from worker.telemetry import metrics

SENT_AT = datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_this_process(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.rewrites.context", lambda: ctx)


def execute(ctx: Context, statement: str, **parameters: Any) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text(statement), parameters)


def track(ctx: Context, message: str, campaign: int, ago: str = "90 minutes") -> None:
    execute(
        ctx,
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, sent_at, tracked_via, recipient_domain)"
        " VALUES (:message, :campaign, now() - CAST(:ago AS interval), 'stream', 'example.net')",
        message=message,
        campaign=campaign,
        ago=ago,
    )


def park_report(ctx: Context, message: str) -> None:
    execute(
        ctx,
        "INSERT INTO azure_delivery_events"
        " (event_id, internet_message_id, status, state, recipient_domain, event_timestamp, created_at)"
        " VALUES ('d1', :message, 'Delivered', 'parked', 'example.net', now() - interval '85 minutes',"
        " now() - interval '80 minutes')",
        message=message,
    )


def details(ctx: Context) -> list[dict[str, Any]]:
    with ctx.engine.begin() as conn:
        return list(conn.execute(text("SELECT details FROM attribution_incidents ORDER BY id")).scalars())


def test_an_incident_names_report_mails_campaigns_and_the_likeliest_cause(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    before = metrics.INCIDENTS.labels("message_id_replaced")._value.get()
    track(ctx, "<well-formed@mail.example.com>", 65, "89 minutes")
    track(ctx, "<guid>", 64)
    park_report(ctx, "<made-by-acs@example.org>")
    with caplog.at_level(logging.WARNING):
        assert rewrites.detect_rewrites.run() == "noted 1"
    (found,) = details(ctx)
    assert found["report"]["event_id"] == "d1"
    assert found["report"]["internet_message_id"] == "<made-by-acs@example.org>"
    assert found["report"]["recipient_domain"] == "example.net"
    assert (found["certain"], found["cause"]) == (False, "form")
    assert [(each["message_id"], each["campaign_id"], each["cause"]) for each in found["candidates"]] == [
        ("<guid>", 64, "form"),
        ("<well-formed@mail.example.com>", 65, "unknown"),
    ]
    assert "attribution incidents" in caplog.text
    assert "example" not in caplog.text, "no id in the log"
    assert metrics.INCIDENTS.labels("message_id_replaced")._value.get() == before + 1


def test_it_says_nothing_twice_and_takes_back_what_a_late_mailer_explains(ctx: Context) -> None:
    track(ctx, "<guid>", 64)
    park_report(ctx, "<late@mail.example.com>")
    assert rewrites.detect_rewrites.run() == "noted 1"
    assert rewrites.detect_rewrites.run() == "nothing suspicious"
    track(ctx, "<late@mail.example.com>", 64, "80 minutes")
    assert rewrites.detect_rewrites.run() == "withdrawn 1"
    assert details(ctx) == []


def test_a_second_detection_at_the_same_time_leaves_it_to_the_first(ctx: Context) -> None:
    track(ctx, "<guid>", 64)
    park_report(ctx, "<made-by-acs@example.org>")
    with ctx.engine.begin() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(hashtext('attribution rewrite alarm'))"))
        assert rewrites.detect_rewrites.run() == "nothing suspicious"
    assert rewrites.detect_rewrites.run() == "noted 1"


@pytest.mark.parametrize(
    ("message", "used_before", "tracked_again", "cause"),
    [
        ("<guid>", False, False, "form"),
        ("<guid>", True, True, "form"),
        ("<a@mail.example.com>", True, False, "duplicate"),
        ("<a@mail.example.com>", False, True, "duplicate"),
        ("<a@mail.example.com>", False, False, "unknown"),
    ],
)
def test_the_cause_is_the_form_then_a_duplicate_then_unknown(
    message: str, used_before: bool, tracked_again: bool, cause: str
) -> None:
    assert rewrites.cause_of(Candidate(1, message, 7, SENT_AT, used_before, tracked_again)) == cause


def test_from_the_streams_to_the_incident(ctx: Context, redis_client: redis.Redis) -> None:
    tracking = {"internet_message_id": "<guid>", "campaign_id": 64, "recipient_domain": "ada@Example.NET"}
    push_messages(redis_client, tracking)
    push_events(
        redis_client, body_of(delivery("d1", internet_message_id="<made@example.org>", recipient="ada@example.net"))
    )
    drained = drain(ctx)
    assert (drained.tracked, drained.parked) == (1, 1)
    assert rewrites.detect_rewrites.run() == "nothing suspicious", "the mailer may still track it"
    execute(ctx, "UPDATE azure_message_tracking SET sent_at = now() - interval '90 minutes'")
    execute(
        ctx,
        "UPDATE azure_delivery_events SET event_timestamp = now() - interval '85 minutes',"
        " created_at = now() - interval '80 minutes'",
    )
    assert rewrites.detect_rewrites.run() == "noted 1"
    (found,) = details(ctx)
    assert (found["report"]["recipient_domain"], found["cause"]) == ("example.net", "form")
    assert "ada@" not in str(found)
