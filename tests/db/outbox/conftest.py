"""An engine on a database of the test's own, with connections for several senders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from db.engine import create_engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=8, for_batches=True)
    yield engine
    engine.dispose()
