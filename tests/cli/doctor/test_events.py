"""What comes in and what becomes of it: each trouble is made in a real database, and found."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import redis

from tests.cli.doctor.conftest import NOWHERE, Diagnose
from worker import queues
from worker.streams import EVENTS, MESSAGES

WEBHOOK = {
    "webhook_url": "https://hooks.example.com/",
    "webhook_secrets": "whsec_" + "c2l4dGVlbi1ieXRlcy1vZi1zaXh0ZWVu",
}
PARKED = (
    "INSERT INTO azure_engagement_events (event_id, state, engagement_type, event_timestamp, created_at)"
    " VALUES ('waits', 'parked', 'view', now(), now() - interval '{}')"
)
SENT = (
    "INSERT INTO azure_message_tracking (campaign_id, internet_message_id, tracked_via, sent_at)"
    " VALUES (7, '<m@example.com>', 'http', now() - interval '{}')"
)
RECEIVED = (
    "INSERT INTO azure_delivery_events (event_id, state, campaign_id, status, event_timestamp, received_at)"
    " VALUES ('came', 'attributed', 7, 'Delivered', now(), now() - interval '{}')"
)
QUARANTINED = (
    "INSERT INTO attribution_quarantine (content_key, kind, reason, body)"
    " SELECT gen_random_uuid(), 'event', 'not_json', 'x' FROM generate_series(1, {})"
)
TALLY = "INSERT INTO attribution_tallies (events, malformed, unknown, engagements, without_id) VALUES ({}, 0, 0, 0, 0)"
BATCH = (
    "INSERT INTO attribution_webhooks (id, engagements, deliveries, state, failure, created_at)"
    " VALUES (gen_random_uuid(), '{{1,2}}', '{{3}}', '{}', '{}', now() - interval '{}')"
)
BEGAN = (
    "INSERT INTO attribution_campaign_counts (source, campaign_id, fact, times, people, waited, first_at, last_at)"
    " VALUES ('engagements', 7, 'open', 2, 1, 0, now() - interval '{}', now())"
)
CLOSED = "INSERT INTO attribution_closed_campaigns (campaign_id, closed_by) VALUES (7, 0)"
ALARM = (
    "INSERT INTO attribution_incidents (kind, subject_id, details, found_at)"
    " VALUES ('{}', 1, '{}', now() - interval '3 hours')"
)


@pytest.mark.parametrize(
    ("statements", "settings", "check", "level", "words"),
    [
        ([], {}, "events-push", "hint", "Nothing has ever been pushed."),
        ([SENT.format("10 minutes")], {}, "events-push", "hint", "Nothing has ever been pushed."),
        (
            [SENT.format("2 hours")], {}, "events-push", "failure",
            "1 mail was sent, the first 2 hours ago, and Event Grid has never posted anything",
        ),
        (
            [RECEIVED.format("3 days"), SENT.format("5 hours")], {}, "events-push", "failure",
            "1 mail was sent, the first 5 hours ago, since the last push, 3 days ago",
        ),
        ([RECEIVED.format("3 hours"), SENT.format("175 minutes")], {}, "events-push", "ok", "The last push was 3"),
        ([SENT.format("9 days")], {}, "events-push", "hint", "Nothing has ever been pushed."),
        ([SENT.format("4 days"), RECEIVED.format("3 days")], {}, "events-push", "hint", "The last push was 3 days"),
        ([RECEIVED.format("3 minutes")], {}, "events-push", "ok", "The last push was 3 minutes ago."),
        ([PARKED.format("10 minutes")], {}, "events-parked", "ok", ""),
        ([PARKED.format("5 hours")], {}, "events-parked", "warning", "1 event is parked, the oldest for 5 hours"),
        ([TALLY.format(900), QUARANTINED.format(5)], {}, "events-readable", "ok", ""),
        (
            [TALLY.format(900), QUARANTINED.format(50)], {}, "events-readable", "warning",
            "50 of 900 parts of the last day could not be read, most often because of not_json",
        ),
        ([ALARM.format("poison", "{}")], {}, "events-alarms", "failure", "nearly nothing that comes can be read"),
        ([ALARM.format("id_missing", "{}")], {}, "events-alarms", "failure", "It has been for 3 hours."),
        ([ALARM.format("poison", '{"ended_at": "2026-01-31T00:00:00Z"}')], {}, "events-alarms", "ok", ""),
        ([BEGAN.format("61 days")], {"event_retention": "P30D"}, "events-retention", "warning", "ago: 7 since 20"),
        ([BEGAN.format("59 days")], {"event_retention": "P30D"}, "events-retention", "ok", ""),
        ([BEGAN.format("61 days"), CLOSED], {"event_retention": "P30D"}, "events-retention", "ok", ""),
        ([BEGAN.format("9 years")], {}, "events-retention", "ok", ""),
        ([BATCH.format("given_up", "refused", "4 days")], WEBHOOK, "events-webhook", "failure", "3 events, which were"),
        ([BATCH.format("given_up", "gone", "4 days")], WEBHOOK, "events-webhook", "failure", "It answered 410"),
        ([BATCH.format("waiting", "away", "3 hours")], WEBHOOK, "events-webhook", "failure", "of anything for 3 hours"),
        ([BATCH.format("waiting", "away", "3 minutes")], WEBHOOK, "events-webhook", "ok", ""),
        ([BATCH.format("waiting", "away", "3 minutes")], {}, "events-webhook", "warning", "is not set here"),
        ([], {}, "events-dead-letters", "hint", "Whether Event Grid dead-letters cannot be seen from here"),
    ],
    ids=lambda value: "-" if isinstance(value, list | dict) else None,
)  # fmt: skip
def test_what_is_stored_is_judged(
    statements: list[str], settings: dict[str, Any], check: str, level: str, words: str,
    database_url: str, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose,
) -> None:  # fmt: skip
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    found = diagnose(only=check, database_url=database_url, redis_url=redis_url, **settings).one(check)
    assert found[0] == level
    assert words in found[1]
    assert bool(found[2]) == (level != "ok")


@pytest.mark.parametrize("stream", [False, True], ids=["queue", "stream"])
def test_a_mailer_is_not_blamed_for_parked_events_while_trackings_wait_to_be_recorded(
    stream: bool, database_url: str, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PARKED.format("5 hours").encode())
    if stream:
        redis_client.xadd(MESSAGES, {"body": b"{}"})
    else:
        redis_client.lpush(queues.TRACKING, "a task", "another")
        redis_client.lpush(f"{queues.TRACKING}{queues.PRIORITIES[1]}", "of another priority")
    level, sentence, fix = diagnose(only="events-parked", database_url=database_url, redis_url=redis_url).one(
        "events-parked"
    )
    counted = "1 in attribution:messages" if stream else "3 in attribution.tracking"
    assert level == "warning"
    assert sentence == (
        "1 event is parked, the oldest for 5 hours, and handed-in trackings wait to be recorded:"
        f" {counted}. That is probably why, and not a mailer."
    )
    assert "expire nothing meanwhile" in fix


def test_parked_events_are_judged_where_redis_is_away(database_url: str, diagnose: Diagnose) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PARKED.format("5 hours").encode())
    found = diagnose(only="events-parked", database_url=database_url, redis_url=f"redis://{NOWHERE}").one(
        "events-parked"
    )
    assert found[1].endswith("a mailer does not track, or names its messages otherwise than Azure does.")


def test_the_last_push_is_known_from_redis_alone(redis_url: str, redis_client: redis.Redis, diagnose: Diagnose) -> None:
    redis_client.xdel(EVENTS, redis_client.xadd(EVENTS, {"body": b"[]"}))  # drained since
    found = diagnose(only="events-push", redis_url=redis_url, event_secrets="8d0be3f7c1a94e25b6").one("events-push")
    assert found[:2] == ("ok", "The last push was 0 seconds ago.")


def test_a_check_that_has_been_seen_to_is_ignored(diagnose: Diagnose) -> None:
    diagnosis = diagnose("--ignore", "events-dead-letters", only="events", event_secrets="8d0be3f7c1a94e25b6")
    assert diagnosis.of("events-dead-letters") == []
    assert diagnosis.document["ignored"] == ["events-dead-letters"]
