"""One owner, the same data every time, and nothing left running, however the owner ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from stack.errors import ServerMissing, StackBusy, StackUnusable
from stack.pidfile import PidFile
from stack.server import find_package
from stack.services import Services, remove, services
from tests.processes import command_lines, lives
from tests.waiting import eventually

QUICK = {"fsync": "off"}

#: Leaves only Redis to start, which is quick, where one server shows as much as two.
ONLY_REDIS = {"ATTRIBUTION_DATABASE_URL": "postgresql://db.example.com/attribution"}


@pytest.fixture
def folder(state_folder: Path) -> Path:
    return state_folder


def own(folder: Path, environment: Mapping[str, str] = ONLY_REDIS) -> subprocess.Popen[str]:
    """Start a process that owns ``folder``, in a session of its own as a terminal would give it."""
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.stack.owner", folder, *environment.values()],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    owner.stdout.close()
    return owner


def write(servers: Services) -> None:
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with redis.Redis.from_url(servers.redis_url, protocol=2) as client:
        client.set("kept", "42")


def assert_written(servers: Services) -> None:
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    with redis.Redis.from_url(servers.redis_url, protocol=2) as client:
        assert client.get("kept") == b"42"


def pids_of(servers: Services) -> list[int]:
    assert servers.postgres is not None
    assert servers.redis is not None
    assert servers.postgres.pid is not None
    assert servers.redis.pid is not None
    return [servers.postgres.pid, servers.redis.pid]


def running(folder: Path) -> list[str]:
    """Return the servers of which anything is left."""
    return [file.stem for file in sorted(folder.glob("*.pid")) if not PidFile(file).is_free()]


def test_data_ports_and_passwords_are_kept(folder: Path) -> None:
    with services(folder, postgres_settings=QUICK, environment={}) as first:
        write(first)
    with services(folder, postgres_settings=QUICK, environment={}) as second:
        assert (second.database_url, second.redis_url) == (first.database_url, first.redis_url)
        assert_written(second)


def test_a_port_taken_meanwhile_is_given_up_for_another(folder: Path) -> None:
    with services(folder, postgres_settings=QUICK, environment={}) as first:
        write(first)
    taken = [int(url.rpartition(":")[2].partition("/")[0]) for url in (first.database_url, first.redis_url)]
    strangers = [socket.create_server(("127.0.0.1", port)) for port in taken]
    try:
        with services(folder, postgres_settings=QUICK, environment={}) as second:
            assert_written(second)
            assert second.database_url != first.database_url
            assert second.redis_url != first.redis_url
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_second_owner_is_refused_and_told_whom_to_stop(folder: Path) -> None:
    owner = own(folder)
    with pytest.raises(StackBusy) as refused, services(folder, environment=ONLY_REDIS):
        pass
    assert f"process {owner.pid} " in str(refused.value)
    assert str(folder) in str(refused.value)
    assert f"kill {owner.pid}" in str(refused.value)
    owner.terminate()
    assert owner.wait() == 128 + signal.SIGTERM


def test_servers_of_a_killed_owner_are_adopted_and_stopped_at_the_end(folder: Path) -> None:
    owner = own(folder, environment={})
    assert running(folder) == ["postgres", "redis"]
    owner.kill()
    owner.wait()
    with services(folder, postgres_settings=QUICK, environment={}) as adopted:
        pids = pids_of(adopted)
        # The logs of a server that was started anew would have replaced theirs.
        assert not (folder / "postgres.log.old").exists()
        assert not (folder / "redis.log.old").exists()
        write(adopted)
    assert running(folder) == []
    eventually(lambda: _assert_gone(*pids), within=2)
    with services(folder, postgres_settings=QUICK, environment={}) as later:
        assert_written(later)


def test_a_leftover_that_hangs_is_replaced(folder: Path) -> None:
    owner = own(folder)
    owner.kill()
    owner.wait()
    before = redis_pid(folder)
    os.kill(before, signal.SIGSTOP)
    with services(folder, environment=ONLY_REDIS) as servers:
        assert servers.redis is not None
        assert servers.redis.pid != before
    eventually(lambda: _assert_gone(before), within=2)


def test_a_leftover_with_other_settings_is_started_anew(folder: Path) -> None:
    owner = own(folder)
    owner.kill()
    owner.wait()
    with (
        services(folder, redis_settings={"maxmemory": "64mb"}, environment=ONLY_REDIS) as servers,
        redis.Redis.from_url(servers.redis_url, protocol=2) as client,
    ):
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}


def redis_pid(folder: Path) -> int:
    line = next(line for line in (folder / "redis.log").read_text().splitlines() if "just started" in line)
    return int(line.partition(":")[0])


def test_ctrl_c_ends_the_owner_which_ends_the_servers_in_order(folder: Path) -> None:
    owner = own(folder, environment={})
    os.killpg(owner.pid, signal.SIGINT)  # as a terminal does to its whole foreground group, where they must not be
    assert owner.wait(timeout=20) == -signal.SIGINT
    assert "received fast shutdown request" in (folder / "postgres.log").read_text()
    assert "database system is shut down" in (folder / "postgres.log").read_text()
    assert "Received SIGTERM" in (folder / "redis.log").read_text()
    assert running(folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_requests_to_end_do_the_same(folder: Path, number: signal.Signals) -> None:
    owner = own(folder)
    owner.send_signal(number)
    assert owner.wait(timeout=20) == 128 + number
    assert "ready to exit" in (folder / "redis.log").read_text()
    assert running(folder) == []


def test_an_impatient_second_ctrl_c_leaves_nothing_running(folder: Path) -> None:
    owner = own(folder)
    for _ in range(5):
        owner.send_signal(signal.SIGINT)
    owner.wait(timeout=20)
    assert running(folder) == []


def test_the_servers_end_when_the_body_raises(folder: Path) -> None:
    were_running = []

    def fail() -> None:
        with services(folder, environment=ONLY_REDIS):
            were_running.extend(running(folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert were_running == ["redis"]
    assert running(folder) == []


def test_named_servers_are_used_and_nothing_is_started(folder: Path) -> None:
    given = {
        "ATTRIBUTION_DATABASE_URL": "postgresql://db.example.com/x",
        "ATTRIBUTION_REDIS_URL": "redis://example.com",
    }
    with services(folder, environment=given) as servers:
        assert servers.environment() == given
        assert servers.postgres is None
        assert servers.redis is None
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_one_named_server_leaves_the_other_embedded(folder: Path) -> None:
    with services(folder, environment=ONLY_REDIS) as servers:
        assert servers.postgres is None
        assert servers.database_url == ONLY_REDIS["ATTRIBUTION_DATABASE_URL"]
        with redis.Redis.from_url(servers.redis_url, protocol=2) as client:
            assert client.ping()


def test_passwords_are_in_private_files_and_in_no_command_line(folder: Path) -> None:
    with services(folder, postgres_settings=QUICK, environment={}) as servers:
        passwords = [url.partition("@")[0].rpartition(":")[2] for url in (servers.database_url, servers.redis_url)]
        shown = "\n".join(command_lines())
        assert f"port={urlsplit(servers.database_url).port}" in shown
        for password in passwords:
            assert len(password) >= 32
            assert password not in shown
            files = [path for path in folder.iterdir() if path.is_file() and password in path.read_text()]
            assert files
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_folder_of_another_user_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackUnusable, match="cannot be used"), services(tmp_path / "file" / "state", environment={}):
        pass


def test_a_missing_package_is_named_with_both_ways_out() -> None:
    with pytest.raises(ServerMissing, match=r"no_such_package .*make setup.*ATTRIBUTION_REDIS_URL"):
        find_package("no_such_package", "ATTRIBUTION_REDIS_URL")


def test_removing_a_stack_removes_its_data_wherever_they_lie(folder: Path) -> None:
    with services(folder, postgres_settings=QUICK, environment={}):
        data = (folder / "postgres").resolve()
        assert (data / "data" / "PG_VERSION").exists()
        with pytest.raises(StackBusy):
            remove(folder)
    remove(folder)
    assert not folder.exists()
    assert not data.exists()


def test_removing_a_stack_ends_what_a_killed_owner_left(folder: Path) -> None:
    owner = own(folder)
    owner.kill()
    owner.wait()
    pid = redis_pid(folder)
    assert lives(pid)
    remove(folder)
    eventually(lambda: _assert_gone(pid), within=2)
    assert not folder.exists()


def _assert_gone(*pids: int) -> None:
    assert not any(lives(pid) for pid in pids)
