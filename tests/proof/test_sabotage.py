"""Each broken build does what it says it does, and the build as it is does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from proof import sabotage as sabotages
from proof.patching import CannotPatch, patch, replace_in
from proof.sabotage import SABOTAGES, no_unique_key
from tasks import parked
from tasks.context import Context, make_context
from tasks.drain import batches_of, drain_batch
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages
from worker.receiving.answers import Refused
from worker.receiving.callers import EventCallers
from worker.settings import ReceiverSettings, WorkerSettings

Break = Callable[[str], None]

BUILDS = pytest.mark.parametrize("broken", [False, True], ids=["as it is", "broken"])


@pytest.fixture
def break_build(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Apply a sabotage to this process until the test ends."""

    def passing(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))

    def apply(name: str) -> None:
        monkeypatch.setattr(SABOTAGES[name], "patch", passing)
        SABOTAGES[name].apply()

    return apply


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Have the pipeline work in listmonk's database, where reader 12 is reader12@example.net."""
    return listmonk_database_url


@pytest.fixture
def ctx(database_url: str, redis_url: str) -> Iterator[Context]:
    overrides: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url}
    context = make_context(WorkerSettings(**overrides))
    context.consumer.create_group()
    yield context
    context.engine.dispose()


def rows(database_url: str, query: str) -> list[Any]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def tracking(message: str, campaign: int, **more: Any) -> dict[str, Any]:
    return {"internet_message_id": message, "campaign_id": campaign} | more


def view(event_id: str, message: str = "<m@mail.example.com>", **data: Any) -> dict[str, Any]:
    data = {"engagementType": "view", "engagementContext": "", "messageId": ...} | data
    return engagement(event_id, internet_message_id=message, **data)


def test_every_sabotage_applies_to_this_build_and_says_what_it_breaks() -> None:
    """In a process of its own, where it may break everything."""
    apply_all = (
        "from proof.sabotage import SABOTAGES\n"
        "for each in SABOTAGES.values(): each.apply()\n"
        "import tasks.drain, tasks.drainer\n"
        "assert tasks.drainer.record_batch is tasks.drain.record_batch, 'a drain process would not be broken'\n"
    )
    subprocess.run([sys.executable, "-c", apply_all], check=True, cwd=Path(__file__).parents[2])
    for each in SABOTAGES.values():
        assert each.SHOWS_AS in {"lost", "twice", "wrong"}
        assert each.SENTENCE
        assert each.SENTENCE[0].islower(), "it follows a colon"


def test_what_is_not_there_any_more_cannot_be_broken_in_silence() -> None:
    class Program:
        pass

    with pytest.raises(CannotPatch, match="Program has no record_batch any more"):
        patch(Program, "record_batch", lambda found: found)
    with pytest.raises(CannotPatch, match="Program has no _queries any more"):
        patch(Program(), "_queries", lambda found: found)
    assert replace_in("a rule and more", "rule", "hole") == "a hole and more"
    with pytest.raises(CannotPatch, match="stands 0 times"):
        replace_in("nothing of the kind", "rule", "")
    with pytest.raises(CannotPatch, match="stands 2 times"):
        replace_in("rule after rule", "rule", "")


@BUILDS
def test_acknowledge_first(
    ctx: Context, database_url: str, redis_client: redis.Redis, break_build: Break, broken: bool
) -> None:
    if broken:
        break_build("acknowledge-first")
    push_events(redis_client, body_of(view("v")))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE azure_engagement_events RENAME TO away")
        (batch,) = batches_of(ctx.consumer.read(count=10, block=None), max_bytes=10**6)
        with pytest.raises(SQLAlchemyError):
            drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[batch.stream], batch)
        connection.execute("ALTER TABLE away RENAME TO azure_engagement_events")
    assert backlog(redis_client) == ((0, 0) if broken else (1, 1))
    drain(ctx)
    assert rows(database_url, "SELECT count(*) FROM azure_engagement_events") == [(0 if broken else 1,)]


@BUILDS
def test_no_unique_key(
    ctx: Context, database_url: str, redis_client: redis.Redis, break_build: Break, broken: bool
) -> None:
    if broken:
        sabotages.prepare("no-unique-key", database_url)
        break_build("no-unique-key")
    push_messages(redis_client, tracking("<m@mail.example.com>", 7, subscriber_id=12))
    body = body_of(view("v"), delivery("d", internet_message_id="<m@mail.example.com>", messageId=...))
    for _ in range(2):
        push_events(redis_client, body)
        drain(ctx)
    times = 2 if broken else 1
    for table in ("azure_engagement_events", "azure_delivery_events", "campaign_views"):
        assert rows(database_url, f"SELECT campaign_id FROM {table}") == [(7,)] * times
    assert rows(database_url, "SELECT count(*) FROM attribution_quarantine") == [(0,)]


def test_a_database_without_the_unique_key_cannot_be_prepared_again(database_url: str) -> None:
    no_unique_key.prepare(database_url)
    with pytest.raises(CannotPatch, match="azure_engagement_events has no unique index on event_key any more"):
        no_unique_key.prepare(database_url)


def test_the_other_sabotages_leave_the_database_as_it_is(database_url: str) -> None:
    for name in SABOTAGES.keys() - {"no-unique-key"}:
        sabotages.prepare(name, database_url)
    no_unique_key.prepare(database_url)  # there is still a key to drop


@BUILDS
def test_guess_by_recipient(
    ctx: Context, database_url: str, redis_client: redis.Redis, break_build: Break, broken: bool
) -> None:
    if broken:
        break_build("guess-by-recipient")
    push_messages(
        redis_client,
        tracking("<older@mail.example.com>", 7, subscriber_id=12, sent_at="2026-01-10T08:00:00Z"),
        tracking("<newer@mail.example.com>", 8, subscriber_id=12, sent_at="2026-01-10T09:00:00Z"),
        tracking("<other@mail.example.com>", 9, subscriber_id=13, sent_at="2026-01-10T09:30:00Z"),
        tracking("<domain@mail.example.com>", 10, recipient_domain="firm.example.com"),
    )
    push_events(
        redis_client,
        body_of(
            view("v", recipient="reader12@example.net"),
            delivery("d", internet_message_id="<m@mail.example.com>", recipient="ada@firm.example.com", messageId=...),
            view("nobody's", recipient="ada@nowhere.example.com"),
            view("its own", "<older@mail.example.com>", recipient="reader12@example.net"),
        ),
    )
    drain(ctx)
    engaged = "SELECT event_id, state::text, campaign_id FROM azure_engagement_events ORDER BY event_id"
    guessed = ("attributed", 8) if broken else ("parked", None)
    assert rows(database_url, engaged) == [
        ("its own", "attributed", 7),
        ("nobody's", "parked", None),
        ("v", *guessed),
    ]
    delivered = rows(database_url, "SELECT state::text, campaign_id FROM azure_delivery_events")
    assert delivered == [("attributed", 10) if broken else ("parked", None)]
    viewed = rows(database_url, "SELECT campaign_id FROM campaign_views ORDER BY campaign_id")
    assert viewed == ([(7,), (8,)] if broken else [(7,)])


@BUILDS
def test_refuse_rotated_secret(break_build: Break, broken: bool) -> None:
    if broken:
        break_build("refuse-rotated-secret")
    overrides: dict[str, Any] = {
        "redis_url": "redis://127.0.0.1:1",
        "event_secrets": "new-secret-of-the-tests",
    }
    callers = EventCallers(ReceiverSettings(**overrides))
    asyncio.run(callers.admit({}, b"code=new-secret-of-the-tests"))
    with pytest.raises(Refused) as refused:
        asyncio.run(callers.admit({}, b"code=old-secret-of-the-tests"))
    assert refused.value.answer.status_code == (401 if broken else 404)


@BUILDS
def test_no_recheck(
    ctx: Context, database_url: str, redis_client: redis.Redis, break_build: Break, broken: bool
) -> None:
    if broken:
        break_build("no-recheck")
    push_events(redis_client, body_of(view("v")))
    (batch,) = batches_of(ctx.consumer.read(count=10, block=None), max_bytes=10**6)
    other = make_context(ctx.settings)

    def track(_connection: object) -> None:
        """Track the message after the drain has looked for it, and release before the drain has committed."""
        push_messages(redis_client, tracking("<m@mail.example.com>", 7))
        drain(other)

    event.listen(ctx.engine, "commit", track, once=True)
    drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[batch.stream], batch)
    other.engine.dispose()
    state = "SELECT state::text FROM azure_engagement_events"
    assert rows(database_url, "SELECT count(*) FROM azure_message_tracking") == [(1,)]
    assert rows(database_url, state) == [("parked" if broken else "attributed",)]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE azure_engagement_events SET next_attempt_at = now() - interval '1 s'")
    parked.retry_due(ctx)
    assert rows(database_url, state) == [("parked" if broken else "attributed",)]
