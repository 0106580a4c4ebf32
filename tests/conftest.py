"""Real servers for every test: embedded ones, or those of ATTRIBUTION_DATABASE_URL and ATTRIBUTION_REDIS_URL.

Ask for what the test needs:

``database_url``      a database of the test's own, migrated; tests may commit, race and wreck it
``empty_database_url``  the same without any table
``listmonk_database_url``  the same inside listmonk's database, with campaigns 1 to 100 and subscribers 1 to 1000
``redis_url``         Redis, emptied before the test
``redis_client``      a client of it
``state_folder``      a folder for a whole stack, such as that of `attribution up`
``private_postgres``, ``private_redis``  make servers of the test's own, to be stopped, killed and paused
``longer``            whether the run was given ``--longer``: then what is drawn by chance is drawn far more often
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import psycopg
import pytest
import redis

from simulator import listmonk
from stack.errors import StackBusy
from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from stack.server import Server
from stack.services import Services, remove, services
from stack.state import StateFolder
from tests.databases import DatabaseServer

# How long an example may take, or a strategy to draw one, is the machine's business: no test asserts a time.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# Started in the background, a shell has us ignore Ctrl-C, and every program that a test interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: What the user set. Taken out of the environment before any test: only servers are the user's choice, every setting
#: of the system under test is the test's.
GIVEN = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ATTRIBUTION_")}

#: Test runs that can go on at once in one checkout; each has a stack of its own.
_RUNS_AT_ONCE = 16

#: Tests kill processes, never the machine, and what a process has written outlives it with or without fsync. Commits
#: stay as synchronous as ever; creating a database costs a third.
_QUICK = {"fsync": "off"}

#: Thousands of databases are made and dropped. ext4 passes over each file number freed in the last half minute, one by
#: one, which makes the next database ten times as slow; and nothing of a test's is to outlive the machine.
_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it is made by mkdtemp, or in a folder of this user's
_MEMORY_NEEDED = 4 * 1024**3

AServer = TypeVar("AServer", bound=Server)
MakePostgres = Callable[..., PostgresServer]
MakeRedis = Callable[..., RedisServer]


def _use_memory() -> None:
    """Have temporary files, and so the data of all servers, in memory, where there is room and programs may run."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return
    if os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC or shutil.disk_usage(_MEMORY).free < _MEMORY_NEEDED:
        return
    tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)


if "TMPDIR" not in os.environ:
    _use_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--longer", action="store_true", help="Minutes instead of seconds for tests that draw what they do by chance."
    )


@pytest.fixture(scope="session")
def longer(request: pytest.FixtureRequest) -> bool:
    """Say whether tests that draw what they do by chance may take minutes, as `make prove` has them do."""
    return bool(request.config.getoption("--longer"))


@pytest.fixture(scope="session")
def servers() -> Iterator[Services]:
    """Both servers, in a stack of the test run's own."""
    checkout = hashlib.sha256(str(Path(__file__).parents[1]).encode()).hexdigest()[:8]
    with ExitStack() as contexts:
        yield _enter_free_stack(contexts, f"attribution-tests-{os.getuid()}-{checkout}")


def _enter_free_stack(contexts: ExitStack, name: str) -> Services:
    for number in range(1, _RUNS_AT_ONCE + 1):
        folder = Path(tempfile.gettempdir()) / f"{name}-{number}"
        with suppress(StackBusy):
            return contexts.enter_context(_fresh_stack(folder))
    pytest.exit(f"{_RUNS_AT_ONCE} test runs are going on in this checkout already.", returncode=3)


@contextmanager
def _fresh_stack(folder: Path) -> Iterator[Services]:
    remove(folder)  # what a killed run has left
    with ExitStack() as afterwards, services(folder, postgres_settings=_QUICK, environment=GIVEN) as running:
        afterwards.callback(remove, folder)
        yield running


@pytest.fixture(scope="session")
def database_server(servers: Services) -> DatabaseServer:
    return DatabaseServer(servers.postgres.url_of("postgres") if servers.postgres else servers.database_url)


@pytest.fixture(scope="session")
def database_server_url(database_server: DatabaseServer) -> str:
    """The address to give orders from that concern no single database."""
    return database_server.url


@contextmanager
def _template(server: DatabaseServer, prepare: Callable[[str], None] = lambda url: None) -> Iterator[str]:
    """Have a migrated database to copy, ``prepare`` done to it before the migration."""
    from db.migrate import upgrade  # tests without a database need no sound migration

    url = server.create()
    try:
        prepare(url)
        upgrade(url)
        server.disconnect(url)
        yield url
    finally:
        server.drop(url)


@pytest.fixture(scope="session")
def _migrated_template(database_server: DatabaseServer) -> Iterator[str]:
    with _template(database_server) as url:
        yield url


@pytest.fixture
def database_url(database_server: DatabaseServer, _migrated_template: str) -> Iterator[str]:
    url = database_server.create(_migrated_template)
    yield url
    database_server.drop(url)


@pytest.fixture(scope="session")
def _listmonk_template(database_server: DatabaseServer) -> Iterator[str]:
    def install(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            listmonk.install(connection, campaigns=100, subscribers=1000)

    with _template(database_server, install) as url:
        yield url


@pytest.fixture
def listmonk_database_url(database_server: DatabaseServer, _listmonk_template: str) -> Iterator[str]:
    url = database_server.create(_listmonk_template)
    yield url
    database_server.drop(url)


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    url = database_server.create()
    yield url
    database_server.drop(url)


@pytest.fixture(scope="session")
def redis_url(servers: Services) -> Iterator[str]:
    with _client(servers.redis_url) as client:
        if servers.redis is None and client.dbsize():
            pytest.exit(
                "Tests empty the Redis of ATTRIBUTION_REDIS_URL, and it holds keys. Name an empty one.", returncode=3
            )
        client.flushdb()
        yield servers.redis_url
        client.flushdb()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    with _client(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_redis(request: pytest.FixtureRequest) -> None:
    """Empty Redis before each test that uses it, however it came by the address."""
    if "redis_url" in request.fixturenames:
        request.getfixturevalue("redis_client").flushdb()


@pytest.fixture
def state_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a stack of the test's own, removed with what still runs and what PostgreSQL keeps elsewhere."""
    yield tmp_path / "state"
    remove(tmp_path / "state")


@pytest.fixture
def private_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePostgres]:
    """Make a running PostgreSQL; keywords are settings of postgresql.conf. Its database has no tables."""
    with ExitStack() as contexts:
        yield lambda **settings: _private(contexts, tmp_path_factory, PostgresServer, _QUICK | settings)


@pytest.fixture
def private_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeRedis]:
    """Make a running Redis; keywords are settings of redis.conf, such as ``maxmemory="50mb"``."""
    with ExitStack() as contexts:
        yield lambda **settings: _private(
            contexts, tmp_path_factory, RedisServer, {name.replace("_", "-"): value for name, value in settings.items()}
        )


def _private(
    contexts: ExitStack, folders: pytest.TempPathFactory, kind: type[AServer], settings: dict[str, str]
) -> AServer:
    folder = folders.mktemp(kind.name)
    state = StateFolder(folder)
    contexts.callback(remove, folder)
    contexts.enter_context(state.owned())
    server = kind(state, settings)
    contexts.callback(server.stop)
    server.start()
    return server


def _client(url: str) -> redis.Redis:
    options: dict[str, Any] = {"protocol": 2, "decode_responses": False, "socket_timeout": 10}
    return redis.Redis.from_url(url, **options)
