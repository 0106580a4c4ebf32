"""Everything a fault needs: programs, receivers, a pipeline, and a network that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from db.engine import create_engine
from proof.power import Disk
from proof.proxy import Proxies
from proof.ptrace import CannotTrace
from stack.redis_server import RedisServer
from tests.acceptance.conftest import start as start
from tests.tasks.conftest import _celery_configured as _celery_configured
from tests.tasks.conftest import ctx as ctx
from tests.tasks.conftest import settings as settings
from tests.worker.conftest import serve as serve


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    """TCP proxies, to be put between a program and its server."""
    with Proxies() as proxies:
        yield proxies


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Where a test looks at the database, past every fault."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def put_on_disk() -> Iterator[Callable[[RedisServer], Disk]]:
    """Put a running Redis on a disk that can be told to fail; skip the test on a machine that does not allow it."""
    disks: list[Disk] = []

    def put(server: RedisServer) -> Disk:
        disks.append(disk_of(server))
        return disks[-1]

    yield put
    for disk in disks:
        disk.detach()


def disk_of(server: RedisServer) -> Disk:
    try:
        return Disk(server)
    except CannotTrace as error:
        pytest.skip(f"the power cannot be cut here: {error}")
