"""COMMIT is sent, PostgreSQL commits, and its answer never comes: what became of it is unknown, and made good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa

from proof.proxy import Proxies, Proxy
from tasks.context import Context, make_context
from tests.db.rows import stored
from tests.faults.network import through
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import backlog, drain, push_events, push_messages
from tests.waiting import eventually
from worker.settings import WorkerSettings

TRACKING = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7, "subscriber_id": 12}


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Where twice would show: listmonk has no unique key on its views."""
    return listmonk_database_url


@pytest.fixture
def proxied(settings: WorkerSettings, proxies: Proxies, database_url: str) -> Iterator[tuple[Context, Proxy]]:
    """A pipeline that reaches PostgreSQL through a proxy."""
    proxy, url = through(proxies, database_url)
    changed: Any = {"database_url": type(settings.database_url)(url)}
    context = make_context(settings.model_copy(update=changed))
    context.consumer.create_group()
    yield context, proxy
    context.engine.dispose()


class LostReply:
    """Drops PostgreSQL's answer to one COMMIT of an engine, and cuts the connection once it has committed."""

    def __init__(self, engine: sa.Engine, proxy: Proxy, database_url: str, number: int) -> None:
        self._proxy = proxy
        self._database_url = database_url
        self._number = number
        self._commits = 0
        self.lost = 0
        sa.event.listen(engine, "commit", self._before_commit)

    def _before_commit(self, conn: sa.Connection) -> None:
        self._commits += 1
        if self._commits != self._number:
            return
        self.lost += 1
        backend = conn.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        silence = ExitStack()
        silence.enter_context(self._proxy.swallowing_replies())
        threading.Thread(target=self._cut_when_committed, args=(backend, silence)).start()

    def _cut_when_committed(self, backend: int, silence: ExitStack) -> None:
        with silence, psycopg.connect(self._database_url, autocommit=True) as look:
            eventually(lambda: _assert_committed(look, backend))


def _assert_committed(look: psycopg.Connection[Any], backend: int) -> None:
    row = look.execute("SELECT state, query FROM pg_stat_activity WHERE pid = %s", [backend]).fetchone()
    assert row is not None
    assert row[0] == "idle", row
    assert row[1].upper().startswith("COMMIT"), row


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_commit_whose_answer_is_lost_counts_once(
    number: int,
    proxied: tuple[Context, Proxy],
    redis_client: redis.Redis,
    database_url: str,
) -> None:
    """The first commits are those of the trackings, of the events, and of the look for native rows."""
    ctx, proxy = proxied
    with ctx.engine.begin() as conn:
        conn.exec_driver_sql("SELECT 1")
    push_messages(redis_client, TRACKING)
    push_events(redis_client, *(body_of(engagement(f"e{n}", engagementType="view")) for n in range(20)))
    reply = LostReply(ctx.engine, proxy, database_url, number)
    drain(ctx)
    assert reply.lost == 1
    assert backlog(redis_client) == (0, 0)
    assert set(stored(ctx.engine).values()) == {("attributed", 7, 12, "internet_message_id")}
    assert len(stored(ctx.engine)) == 20
    with psycopg.connect(database_url) as look:
        assert look.execute("SELECT count(*) FROM campaign_views").fetchone() == (20,)
        assert look.execute("SELECT count(*) FROM azure_message_tracking").fetchone() == (1,)
        assert look.execute("SELECT count(*) FROM attribution_quarantine").fetchone() == (0,)
