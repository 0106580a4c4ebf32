"""A campaign in listmonk's database, whose pixel and redirect count at the same time, while things are killed.

Every act is known here: who counted it natively, which events tell of it, how often those are delivered. So are the
numbers that listmonk must show in the end, exactly.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis

from simulator import listmonk as fake
from stack.postgres_server import PostgresServer
from tests.acceptance.conftest import StartProgram
from tests.acceptance.test_worker import assert_empty, start_worker
from tests.conftest import MakePostgres
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import push_events, push_messages
from tests.waiting import eventually

#: Readers 1 to … of two campaigns: every reader gets one mail of each.
READERS, CAMPAIGNS = 60, (3, 4)
OFFER = "https://shop.example.com/offer"
START = datetime.now(UTC) - timedelta(hours=1)

Listmonk = psycopg.Connection[Any]
#: Campaign, reader and, for a click, its URL.
Counted = tuple[int, int | None, str | None]


@dataclass(frozen=True)
class Act:
    """Something a reader did, and who is going to count it."""

    campaign: int
    reader: int
    at: datetime
    url: str | None
    by_listmonk: bool
    by_azure: bool


@dataclass(frozen=True)
class World:
    """listmonk's database on a PostgreSQL that can be killed, and a connection of listmonk's own."""

    server: PostgresServer
    url: str

    def connect(self) -> Listmonk:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=10)


@pytest.fixture
def world(private_postgres: MakePostgres) -> World:
    from db.migrate import upgrade

    server = private_postgres()
    url = server.url_of("attribution")
    with psycopg.connect(url, autocommit=True) as connection:
        fake.install(connection, campaigns=5, subscribers=READERS)
    upgrade(url)
    return World(server, url)


def acts(rng: random.Random) -> Iterator[Act]:
    """Yield opens and clicks, those of one reader at least twelve seconds apart, so that each is an act by itself."""
    for campaign in CAMPAIGNS:
        for reader in range(1, READERS + 1):
            at = START + timedelta(seconds=rng.uniform(0, 600))
            for _ in range(rng.randint(0, 4)):
                at += timedelta(seconds=rng.uniform(12, 60))
                url = rng.choice([None, None, OFFER, "https://shop.example.com/other"])
                seen_by = rng.choice([(True, True), (True, True), (False, True), (True, False)])
                yield Act(campaign, reader, at, url, *seen_by)


def message_id(campaign: int, reader: int) -> str:
    return f"<{campaign}.{reader}@mail.example.com>"


def counted(connection: Listmonk) -> Counter[Counted]:
    rows = connection.execute(
        "SELECT campaign_id, subscriber_id, NULL FROM campaign_views UNION ALL"
        " SELECT campaign_id, subscriber_id, url FROM link_clicks JOIN links ON links.id = link_id"
    ).fetchall()
    return Counter((campaign, reader, url) for campaign, reader, url in rows)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
def test_listmonk_shows_exact_counts_whatever_happens_on_the_way(
    world: World, start: StartProgram, redis_url: str, redis_client: redis.Redis, seed: int, longer: bool
) -> None:
    if seed > 1 and not longer:
        pytest.skip("One seed is enough here; more with --longer.")
    rng = random.Random(seed)
    story = sorted(acts(rng), key=lambda act: act.at)
    bounced = {(campaign, reader) for campaign in CAMPAIGNS for reader in range(1, READERS, 7)}
    with world.connect() as connection:
        links = {url: fake.link(connection, url) for url in (OFFER, "https://shop.example.com/other")}
        clicked = {
            act: fake.tracked_link(connection, links[act.url], act.campaign, act.reader)
            if rng.random() < 0.5
            else f"{act.url}?email=reader{act.reader}%40example.net"
            for act in story
            if act.url
        }

    worker = start_worker(start, world.url, redis_url, attribution_drain_processes=2)
    beat = start("beat", attribution_database_url=world.url, attribution_redis_url=redis_url)
    assert beat.process.poll() is None

    bodies = [_event(n, act, clicked.get(act)) for n, act in enumerate(story) if act.by_azure]
    bodies += [_bounce(campaign, reader) for campaign, reader in bounced]
    bodies += rng.choices(bodies, k=len(bodies) // 2)  # Event Grid delivers some again
    trackings = [
        {"internet_message_id": message_id(campaign, reader), "campaign_id": campaign, "subscriber_id": reader}
        for campaign in CAMPAIGNS
        for reader in range(1, READERS + 1)
    ]
    rng.shuffle(bodies)
    rng.shuffle(trackings)
    native = [act for act in story if act.by_listmonk]
    rng.shuffle(native)

    listmonk = threading.Thread(target=_count_natively, args=(world, native, links, rng.random()))
    listmonk.start()
    half = len(bodies) // 2
    for n, body in enumerate(bodies):
        push_events(redis_client, body)
        if n % 4 == 0 and trackings:
            push_messages(redis_client, *(trackings.pop() for _ in range(min(5, len(trackings)))))
        if n in (half // 2, half):
            for pid in worker.drain_pids():
                _kill(pid)
        if n == half:
            world.server.kill()
            world.server.start()
    push_messages(redis_client, *trackings)
    listmonk.join(60)
    assert not listmonk.is_alive()

    expected: Counter[Counted] = Counter((act.campaign, act.reader, act.url) for act in story)
    eventually(lambda: assert_empty(redis_client), within=60)
    eventually(lambda: _assert_counted(world, expected), within=60)
    with world.connect() as connection:
        bounces = connection.execute("SELECT campaign_id, subscriber_id, type::text, source FROM bounces").fetchall()
        assert sorted(bounces) == sorted((*who, "hard", "azure") for who in bounced)
        waiting = connection.execute("SELECT count(*) FROM azure_engagement_events WHERE state <> 'attributed'")
        assert waiting.fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM links").fetchone() == (len(links),)
        assert connection.execute("SELECT count(*) FROM attribution_quarantine").fetchone() == (0,)


def _assert_counted(world: World, expected: Counter[Counted]) -> None:
    with world.connect() as connection:
        found = counted(connection)
    assert found == expected, {"too few": expected - found, "too many": found - expected}


def _event(number: int, act: Act, url: str | None) -> bytes:
    # Azure's clock and listmonk's differ, and an act takes its time from one to the other.
    at = act.at + timedelta(seconds=(number % 7 - 3))
    return body_of(
        engagement(
            f"e{number}",
            internet_message_id=message_id(act.campaign, act.reader),
            messageId=str(UUID(int=act.campaign * 1000 + act.reader)),
            engagementType="click" if act.url else "view",
            engagementContext=url or "",
            userActionTimestamp=at.isoformat(),
        )
    )


def _bounce(campaign: int, reader: int) -> bytes:
    return body_of(
        delivery(
            f"b{campaign}.{reader}",
            internet_message_id=message_id(campaign, reader),
            messageId=str(UUID(int=campaign * 1000 + reader)),
            status="Bounced",
            deliveryStatusDetails={"statusMessage": "550 5.1.1 no such user"},
            deliveryAttemptTimestamp=START.isoformat(),
        )
    )


def _count_natively(world: World, native: list[Act], links: dict[str, int], seed: float) -> None:
    """Do what listmonk's pixel and redirect do, each in a transaction of its own, some of them slow to commit."""
    rng = random.Random(seed)
    for act in native:
        while True:
            try:
                with world.connect() as connection, connection.transaction():
                    # Whoever is cut off while committing does not know whether it did.
                    table = "link_clicks" if act.url else "campaign_views"
                    done = connection.execute(
                        f"SELECT count(*) FROM {table} WHERE id > 0 AND campaign_id = %s AND subscriber_id = %s"
                        " AND created_at = %s",
                        [act.campaign, act.reader, act.at],
                    ).fetchone()
                    if done != (0,):
                        break
                    if act.url:
                        fake.click(connection, act.campaign, act.reader, links[act.url], act.at)
                    else:
                        fake.view(connection, act.campaign, act.reader, act.at)
                    if rng.random() < 0.1:
                        connection.execute("SELECT pg_sleep(0.3)")
                break
            except psycopg.OperationalError:  # PostgreSQL is being killed: the reader's program tries again
                continue


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
