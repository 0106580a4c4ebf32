"""What a caller adds to the environment of a server's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from stack.server import Server
from stack.state import StateFolder

SERVERS = pytest.mark.parametrize("kind", [PostgresServer, RedisServer], ids=lambda kind: kind.name)
#: Redis writes its title over its environment, as far as others can see that, unless it is told not to.
SETTINGS: dict[type[Server], dict[str, str]] = {PostgresServer: {"fsync": "off"}, RedisServer: {"set-proc-title": "no"}}


@pytest.fixture
def state(state_folder: Path) -> Iterator[StateFolder]:
    folder = StateFolder(state_folder)
    with folder.owned():
        yield folder


def value(server: Server, name: str) -> str | None:
    found: str | None = psutil.Process(server.pid).environ().get(name)
    return found


@SERVERS
def test_a_server_has_what_is_added_to_its_environment_after_a_restart_too(
    kind: type[Server], state: StateFolder
) -> None:
    with ExitStack() as contexts:
        server = kind(state, SETTINGS[kind], environment={"LC_TIME": "C.UTF-8", "PATH": "/bin:/usr/bin"})
        contexts.callback(server.stop)
        server.start()
        assert value(server, "LC_TIME") == "C.UTF-8"
        assert value(server, "PATH") == "/bin:/usr/bin", "what is added is to replace its own"
        assert value(server, "LC_ALL") == "C", "what nothing replaces is to stay"
        server.kill()
        server.restart()
        assert value(server, "LC_TIME") == "C.UTF-8"


@SERVERS
def test_a_leftover_with_another_environment_is_started_anew(kind: type[Server], state: StateFolder) -> None:
    with ExitStack() as contexts:
        first = kind(state, SETTINGS[kind])
        contexts.callback(first.kill)
        first.start()
        left = first.pid
        same = kind(state, SETTINGS[kind])
        other = kind(state, SETTINGS[kind], environment={"LC_TIME": "C.UTF-8"})
        contexts.callback(other.stop)
        same.start()
        assert same.pid == left
        other.start()
        assert other.pid != left
        assert value(other, "LC_TIME") == "C.UTF-8"
