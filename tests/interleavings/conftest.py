"""Stages: databases that are kept for a module, with the processes of the product that play on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases import DatabaseServer
from tests.interleavings.stage import Stage, playing
from worker.app import app


@pytest.fixture(scope="session", autouse=True)
def _celery_configured() -> None:
    """Have Celery read its settings once, from an environment that names a database, as it would in a worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
        assert app.conf.task_ignore_result


@pytest.fixture(scope="module", autouse=True)
def _as_processes() -> Iterator[None]:
    """Have the tasks find the context of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("counting", "parked", "purging", "rewrites"):
            patch.setattr(f"tasks.{module}.context", playing)
        yield


@pytest.fixture(scope="module")
def stage(database_server: DatabaseServer, _migrated_template: str) -> Iterator[Stage]:
    """A database without listmonk."""
    yield from _staged(database_server, _migrated_template, listmonk=False)


@pytest.fixture(scope="module")
def listmonk_stage(database_server: DatabaseServer, _listmonk_template: str) -> Iterator[Stage]:
    """A database of listmonk's."""
    yield from _staged(database_server, _listmonk_template, listmonk=True)


def _staged(server: DatabaseServer, template: str, *, listmonk: bool) -> Iterator[Stage]:
    url = server.create(template)
    stage = Stage(url, listmonk=listmonk)
    yield stage
    stage.close()
    server.drop(url)


@pytest.fixture(autouse=True)
def _ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have events travel in both ways: copied where the other is first, and passed where the one is."""
    if "swapped" in request.fixturenames and request.getfixturevalue("swapped"):
        monkeypatch.setattr("db.events.SMALL_BATCH", 0)
