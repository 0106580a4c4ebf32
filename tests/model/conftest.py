"""A place for the machines to work in, and how long they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine

from db.migrate import upgrade
from tasks.context import Context, make_context
from tasks.presence import Presence
from tests.databases import DatabaseServer
from tests.interleavings.actors import gated_engine
from tests.migrations.replaced_system import install
from tests.model.workplace import Workplace
from tests.tasks.conftest import _celery_configured
from worker.settings import WorkerSettings

__all__ = ["_celery_configured"]

pytest.register_assert_rewrite(
    "tests.model.any_order", "tests.model.any_interleaving", "tests.model.beside_listmonk", "tests.model.standing"
)


@pytest.fixture
def effort(longer: bool) -> settings:
    """How much a machine tries.

    By default the same examples every time: a run is then red because of what was changed and nothing else, and can be
    repeated anywhere. New ground is broken with ``--longer``, whose examples are drawn afresh; a failure prints what
    repeats it. Nothing is kept between runs.
    """
    return settings(
        max_examples=1500 if longer else 30,
        stateful_step_count=40 if longer else 20,
        derandomize=not longer,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def database_url(database_server: DatabaseServer) -> Iterator[str]:
    """A database that was the replaced system's, whose mailer and webhook handler still write to it."""
    url = database_server.create()
    with psycopg.connect(url, autocommit=True) as connection:
        install(connection, "v7.2", listmonk=False)
    upgrade(url)
    yield url
    database_server.drop(url)


def _context(database_url: str) -> Context:
    overrides: dict[str, Any] = {
        "database_url": database_url,
        "webhook_url": "https://hooks.example.com/",
        "webhook_secrets": "whsec_" + "QUFB" * 12,
    }
    return replace(make_context(WorkerSettings(**overrides)), presence=_There())


class _There(Presence):
    """Believes that PostgreSQL is there: when it would ask depends on the clock, and machines do what they drew."""

    def require(self, engine: Engine) -> None:
        """Ask nothing."""


@pytest.fixture
def place(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    ctx = _context(database_url)
    sweeping: list[Context] = []
    monkeypatch.setattr("tasks.parked.context", lambda: sweeping[0])
    yield Workplace(ctx, tmp_path, sweeping)
    ctx.engine.dispose()


@pytest.fixture
def gated_place(place: Workplace, database_url: str) -> Iterator[Workplace]:
    """The same, whose processes can be held at each of their statements."""
    engine = gated_engine(database_url, for_batches=True)
    yield replace(place, ctx=replace(place.ctx, engine=engine))
    engine.dispose()
