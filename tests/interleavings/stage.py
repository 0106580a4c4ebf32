"""A database on which plays are put on, one after another, and emptied between them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine

from db.results import Results
from tasks.context import Context, make_context, make_results
from tests.interleavings.actors import STUCK, Actor, Stop, gated_engine, gated_transaction
from worker.settings import WorkerSettings

#: What an actor does: a transaction of the product's, or several in the order in which production does them.
Work = Callable[["Player"], object]
#: What is done in which order: the number of an actor, and the gate up to which it goes, None being its end.
Schedule = Sequence[tuple[int, int | None]]

#: What triggers fill when rows come and go.
_KEPT_COUNTS = ("attribution_campaign_counts", "attribution_campaign_people", "attribution_count_changes")
#: The rest is listmonk's own, and Alembic's.
_OURS_AND_ACTS = """
SELECT t.relname
  FROM pg_class AS t
 WHERE t.relkind IN ('r', 'p') AND NOT t.relispartition AND t.relnamespace = 'public'::regnamespace
   AND t.relname NOT IN ('campaigns', 'subscribers', 'settings', 'attribution_alembic_version')
 ORDER BY t.relname = ANY(%s), (SELECT count(*) FROM pg_constraint AS c WHERE c.contype = 'f' AND c.confrelid = t.oid),
          t.relname
"""
_RESTORE_CAMPAIGNS = """
INSERT INTO campaigns (id, uuid, name)
SELECT n, CAST(md5('campaign ' || n) AS uuid), 'campaign ' || n FROM generate_series(1, 20) AS n
ON CONFLICT DO NOTHING;
INSERT INTO subscribers (id, uuid, email)
SELECT n, CAST(md5('subscriber ' || n) AS uuid), 'reader' || n || '@example.net' FROM generate_series(1, 20) AS n
ON CONFLICT DO NOTHING;
"""
_LOG = """
CREATE TABLE webhook_logs (
    id bigserial PRIMARY KEY, webhook_type varchar(50) NOT NULL, event_type varchar(100), request_headers jsonb,
    request_body text, response_status int, response_body text, processed bool DEFAULT false, error_message text,
    created_at timestamptz DEFAULT now());
"""

#: What `campaign_stats` is to say, from all rows each time, as it did before any counts were kept.
_STATS_BY_ROWS = (
    (Path(__file__).parents[2] / "migrations/r0002/campaign_stats.sql")
    .read_text()
    .replace("VIEW campaign_stats", "VIEW stats_by_rows")
)

_playing: ContextVar[Player] = ContextVar("playing")


def playing() -> Context:
    """Return the context of whoever plays in this thread: what stands in for the one context of a real process."""
    return _playing.get().ctx


@dataclass
class Player:
    """What one process of the product has: its context, and engines as its commands make them.

    ``told`` are the events that it has posted to the webhook.
    """

    ctx: Context
    #: As the commands that correct rows make it; `ctx.engine` is as the pipeline makes it.
    free_engine: Engine
    told: list[str] = field(default_factory=list)

    def elsewhere(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Begin a transaction as another program would, over a connection of its own."""
        return gated_transaction(self.ctx.settings.database_url.get_secret_value())


class Stage:
    """A database, players with connections that are kept from play to play, and whoever looks on."""

    def __init__(self, database_url: str, *, listmonk: bool, players: int = 3) -> None:
        overrides: dict[str, Any] = {
            "database_url": database_url,
            "redis_url": "redis://127.0.0.1:1/0",  # nothing here goes over Redis
            "webhook_url": "https://www.example.com/hook",
            "webhook_secrets": ["whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"],
        }
        self.listmonk = listmonk
        self.settings = WorkerSettings(**overrides)
        self.observer = psycopg.connect(database_url, autocommit=True)
        self.observer.execute(f"CREATE SCHEMA saved; {_LOG} {_STATS_BY_ROWS}".encode())
        self._context = make_context(self.settings)
        self._engines = [
            (gated_engine(database_url, for_batches=True), gated_engine(database_url)) for _ in range(players)
        ]
        self._tables = [name for (name,) in self.observer.execute(_OURS_AND_ACTS, [list(_KEPT_COUNTS)])]
        self._empty = "".join(f"DELETE FROM {table}; " for table in self._tables)
        self._scene = ""
        self.players: list[Player] = []

    def close(self) -> None:
        """End every connection."""
        self.observer.close()
        for engines in self._engines:
            for engine in engines:
                engine.dispose()

    def set_scene(self, *works: Work) -> None:
        """Have works done in the empty database, and remember what they leave there as the beginning of each play."""
        self._scene = ""
        self.begin()
        self.do(*works)
        scene = ["DROP SCHEMA saved CASCADE; CREATE SCHEMA saved"]
        filled = [name for name in self._tables if name not in _KEPT_COUNTS and self._has_rows(name)]
        scene += [f"CREATE TABLE saved.{table} AS TABLE {table}" for table in filled]
        self.observer.execute("; ".join(scene).encode())
        # Tables that others refer to are the last to be emptied, and so the first to be filled.
        self._scene = "; ".join(
            f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM saved.{table}" for table in reversed(filled)
        )

    def _has_rows(self, table: str) -> bool:
        return self.observer.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchone() is not None

    def begin(self) -> None:
        """Bring the scene back, and have players come afresh, as processes that have just looked for listmonk."""
        campaigns = _RESTORE_CAMPAIGNS if self.listmonk else ""
        self.observer.execute(f"{self._empty} {campaigns} {self._scene}".encode())
        with self._engines[0][0].connect() as conn:
            results = make_results(self.settings)
            results.listmonk(conn)
        self.players = [self._player(dataclasses.replace(results), *engines) for engines in self._engines]

    def _player(self, results: Results, engine: Engine, free_engine: Engine) -> Player:
        pipelines = {
            stream: dataclasses.replace(pipeline, results=results)  # type: ignore[type-var]
            for stream, pipeline in self._context.pipelines.items()
        }
        ctx = dataclasses.replace(self._context, engine=engine, results=results, pipelines=pipelines)
        return Player(ctx, free_engine)

    def do(self, *works: Work) -> None:
        """Have works done, one after the other, by nobody in particular."""
        for work in works:
            with _as(self.players[-1]):
                work(self.players[-1])

    def play(self, works: Sequence[Work], schedule: Schedule) -> list[Actor]:
        """Have works done by actors of their own, in the order of the schedule, and then to their ends in turn.

        An actor that cannot go on, because it waits for another's lock, goes on in its next turn. Two that wait for
        each other stay so until PostgreSQL ends one of them, which its `sqlstates` tell.
        """
        actors = [
            Actor(f"actor {number}", _acted_by(player, work))
            for number, (player, work) in enumerate(zip(self.players, works, strict=False))
        ]
        try:
            for number, upto in schedule:
                actors[number].go(upto, self._is_waiting)
            turns = sorted(range(len(actors)), key=[number for number, _ in schedule].index)
            self._end([actors[number] for number in turns])
        finally:
            for actor in actors:
                actor.release()
        return actors

    def _end(self, actors: Sequence[Actor]) -> None:
        until = time.monotonic() + STUCK
        while not all(actor.ended for actor in actors):
            stops = [actor.go(None, self._is_waiting) for actor in actors if not actor.ended]
            if time.monotonic() > until and all(stop is Stop.WAITING for stop in stops):
                raise AssertionError("They wait for each other, and nobody ends it.")

    def _is_waiting(self, pid: int) -> bool:
        row = self.observer.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid]).fetchone()
        return row is not None and bool(row[0])


def _acted_by(player: Player, work: Work) -> Callable[[], None]:
    def act() -> None:
        with _as(player):
            work(player)

    return act


@contextmanager
def _as(player: Player) -> Iterator[None]:
    token = _playing.set(player)
    try:
        yield
    finally:
        _playing.reset(token)
