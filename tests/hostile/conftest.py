"""The running system that the hostile corpus is sent to, once, and what became of it all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.databases import DatabaseServer
from tests.hostile.corpus import CORPUS
from tests.hostile.outcome import Outcome, Running


@pytest.fixture(scope="module")
def outcome(
    database_server: DatabaseServer, _listmonk_template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """Send the whole corpus, wait until it is drained, and look. Nothing runs any more when the tests begin."""
    url = database_server.create(_listmonk_template)
    with redis.Redis.from_url(redis_url, protocol=2, socket_timeout=30) as client:
        client.flushdb()
        try:
            with Running(url, redis_url, tmp_path_factory.mktemp("hostile")) as running:
                yield running.send_all(CORPUS.values())
        finally:
            database_server.drop(url)
