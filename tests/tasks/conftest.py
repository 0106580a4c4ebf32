"""A context of the pipeline on a database and a Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tasks.context import Context, make_context
from worker.app import app
from worker.settings import WorkerSettings


@pytest.fixture(autouse=True, scope="session")
def _celery_configured() -> None:
    """Have Celery read its settings once, from an environment that names a database, as it would in a worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
        assert app.conf.task_ignore_result


@pytest.fixture
def settings(database_url: str, redis_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, "claim_after": 0.001}
    return WorkerSettings(**overrides)


@pytest.fixture
def ctx(settings: WorkerSettings) -> Iterator[Context]:
    context = make_context(settings)
    context.consumer.create_group()
    yield context
    context.engine.dispose()


@pytest.fixture
def engine(ctx: Context) -> Engine:
    return ctx.engine
