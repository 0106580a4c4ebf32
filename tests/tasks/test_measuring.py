"""What operators watch is measured once, and told by every worker."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, text

from tasks import measuring
from tasks.context import Context
from tasks.drain import batches_of, drain_each
from tasks.measuring import MOST_CAMPAIGNS, take_measures
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events, push_messages
from worker import streams
from worker.telemetry import metrics
from worker.telemetry.exposition import Measured


def drain(ctx: Context) -> None:
    entries = ctx.consumer.read(count=1000, block=None)
    drain_each(ctx, batches_of(entries, max_bytes=1 << 20))
    ctx.pace._look_at = 0.0
    ctx.pace.look(ctx.engine)  # the tallies are told now, and not in a few seconds


def told(ctx: Context) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what a worker would tell: values by their labels, by name."""
    families = Measured(ctx.settings.redis_url.get_secret_value()).collect()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples} for family in families
    }


def value(ctx: Context, measure: metrics.Measure, *labels: str) -> float:
    return told(ctx)[measure.name][labels]


def test_of_an_empty_system_everything_is_zero_or_missing(ctx: Context) -> None:
    take_measures(ctx)
    measured = told(ctx)
    assert measured.pop(metrics.MEASURED_AT.name)[()] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    assert measured.pop(metrics.ARCHIVE_BYTES.name)[()] > 0
    assert {each for values in measured.values() for each in values.values()} == {0}
    assert measured[metrics.POPULATION.name] == {}  # of nothing there is no share
    assert measured[metrics.QUEUED.name].keys() == {
        ("attribution.drain",), ("attribution.maintenance",), ("attribution.tracking",)
    }  # fmt: skip


def test_what_waits_is_told_with_its_age(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement(), engagement()))
    drain(ctx)
    with ctx.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE azure_engagement_events SET created_at = now() - interval '1 hour', received_at = now() -"
                " interval '1 hour', next_attempt_at = now() - interval '10 minutes'"
            )
        )
    take_measures(ctx)
    assert value(ctx, metrics.PARKED) == 2
    assert value(ctx, metrics.PARKED_AGE) == pytest.approx(3600, abs=60)
    assert value(ctx, metrics.OVERDUE) == 2


def test_what_the_past_lets_expect_of_what_waits_is_told(ctx: Context, redis_client: redis.Redis) -> None:
    take_measures(ctx)
    assert set(told(ctx)[metrics.PARKED_EXPECTED.name].values()) == {0}
    push_events(redis_client, body_of(*(engagement(internet_message_id=f"<{n}@example.com>") for n in range(40))))
    drain(ctx)
    take_measures(ctx)
    assert value(ctx, metrics.PARKED_EXPECTED, "unknown") == 40  # there is no past yet
    age(ctx, "1 hour")
    push_messages(redis_client, *({"internet_message_id": f"<{n}@example.com>", "campaign_id": 1} for n in range(40)))
    drain(ctx)
    age(ctx, "8 days")
    push_events(redis_client, body_of(*(engagement(internet_message_id=f"<new{n}@example.com>") for n in range(7))))
    drain(ctx)
    take_measures(ctx)
    assert value(ctx, metrics.PARKED) == 7
    assert value(ctx, metrics.PARKED_EXPECTED, "soon") == pytest.approx(7)  # all of the past were matched in an hour
    assert value(ctx, metrics.PARKED_EXPECTED, "unknown") == 0


def age(ctx: Context, by: str) -> None:
    """Have everything happened longer ago."""
    with ctx.engine.begin() as conn:
        conn.execute(
            text(
                f"UPDATE azure_engagement_events SET created_at = created_at - interval '{by}',"
                f" received_at = received_at - interval '{by}', attributed_at = attributed_at - interval '{by}'"
            )
        )


def test_the_population_rate_is_of_events_and_of_messages(ctx: Context, redis_client: redis.Redis) -> None:
    push_messages(redis_client, {"internet_message_id": "<a@example.com>", "campaign_id": 1})
    push_messages(redis_client, {"azure_message_id": "0b0c8f7e-5f5c-4a6e-9f39-6a1b8c2f0d11", "campaign_id": 1})
    events = [engagement(internet_message_id=None), engagement(), engagement(), engagement()]
    push_events(redis_client, body_of(*events))
    drain(ctx)
    take_measures(ctx)
    assert value(ctx, metrics.POPULATION, "engagements") == 0.75
    assert value(ctx, metrics.POPULATION, "messages") == 0.5
    assert value(ctx, metrics.POPULATION_OF, "engagements") == 4


def test_what_cannot_be_read_is_a_share(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement()), b"{not json")
    drain(ctx)
    take_measures(ctx)
    assert value(ctx, metrics.MALFORMED) == 0.5


def test_only_the_busiest_campaigns_are_told_by_number(ctx: Context, redis_client: redis.Redis) -> None:
    campaigns = MOST_CAMPAIGNS + 3
    opens = []
    for campaign in range(1, campaigns + 1):
        push_messages(redis_client, {"internet_message_id": f"<{campaign}@example.com>", "campaign_id": campaign})
        now = datetime.now(UTC).isoformat()
        for _ in range(2 if campaign > 3 else 1):
            opens.append(
                engagement(
                    internet_message_id=f"<{campaign}@example.com>", userActionTimestamp=now, engagementType="view"
                )
            )
    push_events(redis_client, body_of(*opens))
    drain(ctx)
    take_measures(ctx)
    acts = told(ctx)[metrics.CAMPAIGN_ACTS.name]
    named = {campaign for campaign, _ in acts} - {"other"}
    assert named == {str(campaign) for campaign in range(4, campaigns + 1)}
    assert acts["other", "view"] == 3
    assert acts["4", "view"] == 2


def test_what_was_read_and_not_acknowledged_is_told(ctx: Context, redis_client: redis.Redis) -> None:
    push_events(redis_client, body_of(engagement()))
    ctx.consumer.read(count=10, block=None)
    take_measures(ctx)
    assert value(ctx, metrics.PENDING, streams.EVENTS) == 1
    assert value(ctx, metrics.LAST_ENTRY, streams.EVENTS) == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


def test_what_postgresql_cannot_tell_is_missing_and_the_rest_is_told(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(text("ALTER TABLE attribution_outbox RENAME TO elsewhere"))
    with caplog.at_level(logging.WARNING):
        take_measures(ctx)
    assert metrics.OUTBOX.name not in told(ctx)
    assert value(ctx, metrics.PARKED) == 0
    assert "outbox could not be measured (ProgrammingError)" in caplog.text


def test_what_has_expired_may_be_too_much_to_be_counted_and_all_else_is_told(
    ctx: Context, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_events(redis_client, body_of(engagement()))
    drain(ctx)

    def take_too_long(conn: Connection) -> None:
        conn.execute(text("SELECT pg_sleep(20)"))

    monkeypatch.setattr(measuring, "LONGEST_STATEMENT", timedelta(milliseconds=500))
    monkeypatch.setattr(measuring, "count_expired", take_too_long)
    take_measures(ctx)
    missing = {measure.name for measure in metrics.MEASURED} - told(ctx).keys()
    assert metrics.EXPIRED.name in missing
    assert missing.isdisjoint({metrics.PARKED.name, metrics.PARKED_AGE.name, metrics.OVERDUE.name})
    assert value(ctx, metrics.PARKED) == 1


def test_a_postgresql_that_is_slow_is_asked_for_a_few_seconds_and_not_at_every_question(
    ctx: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def take_too_long(conn: Connection) -> measuring.Measured:
        asked.append(conn)
        conn.execute(text("SELECT pg_sleep(20)"))
        return {}

    monkeypatch.setattr(measuring, "LONGEST_STATEMENT", timedelta(milliseconds=200))
    monkeypatch.setattr(measuring, "LONGEST_RUN", timedelta(milliseconds=300))
    monkeypatch.setattr(measuring, "_parked", take_too_long)
    monkeypatch.setattr(measuring, "_population", take_too_long)
    monkeypatch.setattr(measuring, "_expected", lambda conn, _deadline: take_too_long(conn))
    with caplog.at_level(logging.WARNING):
        take_measures(ctx)
    assert len(asked) == 2
    assert "PostgreSQL is slow, or away; from proof on nothing was measured" in caplog.text
    measured = told(ctx)
    assert metrics.PARKED.name not in measured
    assert {metrics.MEASURED_AT.name, metrics.QUEUED.name} <= measured.keys()  # it does answer


def test_while_redis_is_away_the_rest_is_served(private_redis: Any) -> None:
    server = private_redis()
    url = server.url
    with redis.Redis.from_url(url, protocol=2) as client:
        client.set(streams.MEASURED, json.dumps({metrics.PARKED.name: [[[], 7]]}))
    measured = Measured(url)
    assert [family.name for family in measured.collect()] == [metrics.PARKED.name]
    server.stop()
    assert list(measured.collect()) == []


def test_the_age_of_what_waits_for_the_webhook_is_told_but_for_what_was_given_up(ctx: Context) -> None:
    with ctx.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO attribution_webhooks (id, engagements, deliveries, state, created_at)"
                " VALUES (gen_random_uuid(), '{1,2}', '{3}', 'waiting', now() - interval '1 day'),"
                " (gen_random_uuid(), '{4}', '{5}', 'given_up', now() - interval '5 days')"
            )
        )
    take_measures(ctx)
    assert value(ctx, metrics.OUTBOX) == 3
    assert value(ctx, metrics.WEBHOOKS_KEPT, "given_up") == 1
    assert value(ctx, metrics.OUTBOX_AGE) == pytest.approx(timedelta(days=1).total_seconds(), abs=60)
