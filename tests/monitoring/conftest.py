"""Prometheus's programs, without which there is nothing to test here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from tests.acceptance.conftest import StartProgram, start  # noqa: F401 - `start` is a fixture
from tests.conftest import MakePostgres, MakeRedis
from tests.monitoring import prometheus_binary
from tests.monitoring.prometheus_binary import Binaries, NoPrometheus
from tests.monitoring.running import Prometheus, prometheus
from tests.monitoring.system import System, start_system

Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Prometheus and promtool. Where there are none tests are skipped; in CI, where nobody would see it, they fail."""
    try:
        return prometheus_binary.find()
    except NoPrometheus as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI must have Prometheus: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def promtool(binaries: Binaries) -> Promtool:
    """Run promtool with some arguments; return what it says, and fail with it if it complains."""
    import subprocess

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([binaries.promtool, *arguments], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    return run


@pytest.fixture
def postgres(private_postgres: MakePostgres) -> PostgresServer:
    """A PostgreSQL of the test's own, with our tables."""
    from db.migrate import upgrade

    server = private_postgres()
    upgrade(server.url_of("attribution"))
    return server


@pytest.fixture
def store(private_redis: MakeRedis) -> RedisServer:
    """A Redis of the test's own."""
    return private_redis()


@pytest.fixture
def system(start: StartProgram, postgres: PostgresServer, store: RedisServer) -> System:  # noqa: F811
    """Receiver, worker and beat on these servers, ready."""
    return start_system(start, postgres.url_of("attribution"), store.url)


@pytest.fixture
def watching(binaries: Binaries, system: System, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that watches them, with the shipped rules in a hurry."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with prometheus(binaries, folder, receivers=[system.receiver_port], workers=[system.worker_port]) as running:
        yield running
