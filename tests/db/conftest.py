"""An engine on a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from db.engine import create_engine


@pytest.fixture(params=[0, 100], ids=["copied", "passed"])
def _batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test's events travel in both ways."""
    monkeypatch.setattr("db.events.SMALL_BATCH", request.param)


@pytest.fixture
def engine(database_url: str, _batches: None) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=8, for_batches=True)
    yield engine
    engine.dispose()
