"""The pipeline inside listmonk's database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis

from db import parking
from db.models import MessageIds
from simulator import listmonk as fake
from tasks.context import Context, make_context
from tasks.parked import retry_due, watch
from tasks.settling import settle
from tests.db.rows import stored
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import drain, push_events, push_messages
from worker.settings import WorkerSettings

TRACKED = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}
ORPHAN = "<orphan@mail.example.com>"


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Have the pipeline work in listmonk's database."""
    return listmonk_database_url


@pytest.fixture
def listmonk(listmonk_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        yield connection


def rows(listmonk: psycopg.Connection[Any], query: str) -> list[Any]:
    return listmonk.execute(query.encode()).fetchall()


def track_orphan(listmonk: psycopg.Connection[Any]) -> None:
    """Track a message of a campaign that is not there, as rows from before the foreign keys may be."""
    listmonk.execute("SET session_replication_role = replica")
    listmonk.execute(
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via) VALUES (%s, 999, 'x')",
        [ORPHAN],
    )
    listmonk.execute("SET session_replication_role = DEFAULT")


def test_from_the_stream_into_listmonks_tables(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    push_messages(redis_client, TRACKED)
    push_events(
        redis_client,
        body_of(engagement("v", engagementType="View", engagementContext="")),
        body_of(engagement("c", engagementContext="https://shop.example.com/?email=ada%40example.net&x=1")),
        body_of(delivery("b", status="bounced", deliveryStatusDetails={"statusMessage": "452 4.2.2 mailbox full"})),
    )
    drain(ctx)
    assert rows(listmonk, "SELECT campaign_id, subscriber_id FROM campaign_views") == [(7, 12)]
    assert rows(
        listmonk, "SELECT campaign_id, subscriber_id, url FROM link_clicks JOIN links ON links.id = link_id"
    ) == [(7, 12, "https://shop.example.com/?x=1")]
    assert rows(listmonk, "SELECT campaign_id, subscriber_id, type::text, source FROM bounces") == [
        (7, 12, "soft", "azure")
    ]


def test_what_waited_is_counted_when_its_message_is_tracked(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    push_events(redis_client, body_of(engagement("v", engagementType="view")))
    drain(ctx)
    assert rows(listmonk, "SELECT count(*) FROM campaign_views") == [(0,)]
    push_messages(redis_client, TRACKED)
    drain(ctx)
    assert rows(listmonk, "SELECT campaign_id, subscriber_id FROM campaign_views") == [(7, 12)]


def test_an_event_of_a_campaign_that_is_gone_costs_itself_alone(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    track_orphan(listmonk)
    push_messages(redis_client, TRACKED)
    orphan = engagement("orphan", internet_message_id=ORPHAN, engagementType="view")
    fine = [engagement(f"v{n}", engagementType="view") for n in range(5)]
    push_events(redis_client, body_of(*fine[:3], orphan, *fine[3:]))
    drained = drain(ctx)
    assert drained.quarantined == {"campaign_or_subscriber_deleted": 1}
    assert stored(ctx.engine).keys() == {f"v{n}" for n in range(5)}
    assert rows(listmonk, "SELECT count(*) FROM campaign_views") == [(5,)]
    assert rows(listmonk, "SELECT reason, detail FROM attribution_quarantine") == [
        ("campaign_or_subscriber_deleted", "23503")
    ]


def test_an_event_that_cannot_be_attributed_does_not_stand_in_the_way_of_the_others(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = [engagement(f"fine {n}", engagementType="view") for n in range(5)]
    push_events(redis_client, body_of(engagement("orphan", internet_message_id=ORPHAN), *fine))
    drain(ctx)
    track_orphan(listmonk)
    listmonk.execute(
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
        " VALUES ('<c42@mail.example.com>', 7, 'x')"
    )
    listmonk.execute(
        "UPDATE azure_engagement_events SET next_attempt_at = now() - interval '1 s' * (event_id = 'orphan')::int"
    )
    with monkeypatch.context() as unaware:  # as a sweep is that has looked before the campaign went
        unaware.setattr(parking, "_IN_LISTMONK", parking._ANYWHERE)
        assert retry_due(ctx).attributed == 0  # puts the orphan off
        assert retry_due(ctx).attributed == 5
    assert rows(listmonk, "SELECT count(*) FROM campaign_views") == [(5,)]
    listmonk.execute("UPDATE azure_engagement_events SET next_attempt_at = now() WHERE state = 'parked'")
    assert retry_due(ctx).expired == 1


def test_a_message_whose_events_cannot_be_released_does_not_hold_back_those_of_others(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"<m{n}@mail.example.com>" for n in range(7)]
    push_events(redis_client, *(body_of(engagement(name, internet_message_id=name)) for name in (*names, ORPHAN)))
    drain(ctx)
    track_orphan(listmonk)
    listmonk.execute(
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
        " SELECT '<m' || n || '@mail.example.com>', 7, 'x' FROM generate_series(0, 6) AS n"
    )
    monkeypatch.setattr(parking, "_IN_LISTMONK", parking._ANYWHERE)
    assert settle(ctx.engine, ctx.results, MessageIds(frozenset({*names, ORPHAN}))) == 7
    assert stored(ctx.engine)[ORPHAN][0] == "parked"


def test_what_the_replaced_system_left_waiting_is_told_apart_when_it_is_released(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    listmonk.execute(
        "INSERT INTO azure_engagement_events"
        " (internet_message_id, engagement_type, engagement_context, event_timestamp, state, next_attempt_at)"
        " VALUES ('<c42@mail.example.com>', 'Click', 'https://example.com/unsubscribe', now(), 'parked', now()),"
        " ('<c42@mail.example.com>', 'View', '', now(), 'parked', now());"
        "INSERT INTO azure_delivery_events"
        " (internet_message_id, status, status_reason, event_timestamp, state, next_attempt_at)"
        " VALUES ('<c42@mail.example.com>', 'Bounced', '550 5.1.1 no such user', now(), 'parked', now())"
    )
    push_messages(redis_client, TRACKED)
    drain(ctx)
    assert rows(listmonk, "SELECT engagement_type, uncounted FROM azure_engagement_events ORDER BY 1") == [
        ("click", "unsubscribe_link"),
        ("view", None),
    ]
    assert rows(listmonk, "SELECT count(*) FROM campaign_views") == [(1,)]
    assert rows(listmonk, "SELECT type::text FROM bounces") == [("hard",)]


def test_the_watch_lets_native_rows_count_what_came_before_them(
    ctx: Context, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    push_messages(redis_client, TRACKED)
    push_events(redis_client, body_of(engagement("v", engagementType="view")))
    drain(ctx)
    (at,) = rows(listmonk, "SELECT created_at FROM campaign_views")[0]
    native = fake.view(listmonk, 7, 12, at + timedelta(seconds=2))
    assert watch(ctx) == 1
    assert watch(ctx) == 0
    assert rows(listmonk, "SELECT id FROM campaign_views") == [(native,)]


def test_rules_and_window_are_those_of_the_settings(
    settings: WorkerSettings, redis_client: redis.Redis, listmonk: psycopg.Connection[Any]
) -> None:
    changed = settings.model_copy(
        update={
            "native_window": timedelta(0),
            "bounce_types": ("Bounced:complaint",),
            "personal_parameters": ("who",),
        }
    )
    context = make_context(changed)
    context.consumer.create_group()
    link = fake.link(listmonk, "https://shop.example.com/?x=1")
    push_messages(redis_client, TRACKED)
    event = engagement("c", engagementContext="https://shop.example.com/?x=1&WHO=7")
    fake.click(listmonk, 7, 12, link, event["data"]["userActionTimestamp"])
    push_events(redis_client, body_of(event, delivery("b", status="Bounced")))
    drain(context)
    assert rows(listmonk, "SELECT link_id FROM link_clicks") == [(link,), (link,)]
    assert rows(listmonk, "SELECT type::text FROM bounces") == [("complaint",)]
    context.engine.dispose()


@pytest.mark.parametrize(
    ("retention", "kept"), [(timedelta(days=14), [("event", 2), ("message", 1)]), (timedelta(0), [])]
)
def test_bodies_are_archived_with_their_batch(
    settings: WorkerSettings,
    redis_client: redis.Redis,
    listmonk: psycopg.Connection[Any],
    retention: timedelta,
    kept: list[tuple[str, int]],
) -> None:
    context = make_context(settings.model_copy(update={"archive_retention": retention}))
    context.consumer.create_group()
    push_messages(redis_client, TRACKED)
    push_events(redis_client, body_of(engagement("v")), b"not json")
    drain(context)
    assert rows(listmonk, "SELECT kind, bodies FROM attribution_archive ORDER BY kind") == kept
    context.engine.dispose()
