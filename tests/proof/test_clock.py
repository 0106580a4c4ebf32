"""Clocks that jump, in the kinds of process that the proof runs; and nothing that waits is kept waiting by them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.machinery import ModuleSpec
from pathlib import Path

import psycopg
import pytest
import redis

from proof import clock
from proof.clock import Clock
from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from stack.services import remove
from stack.state import StateFolder
from tests.proof.clock_reader import CONDITION_WAITS, WAIT
from tests.waiting import eventually

needs_clocks = pytest.mark.skipif(
    not clock.available(), reason="the package libfaketime has no wheel for this platform"
)

HOUR = 3600.0
#: Seconds by which a clock may differ from what is expected of it: longer than this machine stands still, shorter than
#: any jump.
ALLOWANCE = 300.0

Ask = Callable[[str], dict[str, float]]


@pytest.fixture
def jumping(tmp_path: Path) -> Iterator[Clock]:
    made = Clock(tmp_path / "clock")
    yield made
    made.remove()


@pytest.fixture
def ask(jumping: Clock) -> Iterator[Ask]:
    """Ask a Python process with that clock; see `tests.proof.clock_reader`."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.proof.clock_reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | jumping.environment(),
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def asked(question: str) -> dict[str, float]:
            questions.write(question + "\n")
            questions.flush()
            answer: dict[str, float] = json.loads(answers.readline())
            return answer

        yield asked
        process.kill()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "stack")
    with ExitStack() as contexts:
        contexts.callback(remove, folder.path)
        contexts.enter_context(folder.owned())
        yield folder


def assert_off_by(offset: float, seconds: float) -> None:
    assert abs(offset - seconds) < ALLOWANCE


def seen_with(made: Clock) -> str:
    """Return the time that a new process sees."""
    return subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env=dict(os.environ) | made.environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def leftovers(pid: int) -> list[Path]:
    return list(clock.SHARED_MEMORY.glob(f"*faketime*_{pid}"))


@needs_clocks
def test_a_running_process_sees_its_wall_clock_jump_and_its_monotonic_clock_go_on(jumping: Clock, ask: Ask) -> None:
    for seconds in (0, HOUR, -HOUR, 86400 * 30, 0):
        jumping.jump(seconds)

        def jumped(seconds: float = seconds) -> dict[str, float]:
            seen = ask("read")
            assert_off_by(seen["time"] - time.time(), seconds)
            return seen

        seen = eventually(jumped)
        assert_off_by(seen["datetime"] - seen["time"], 0)
        assert_off_by(seen["clock_gettime"] - seen["time"], 0)
        assert_off_by(seen["monotonic"] - time.monotonic(), 0)
        assert_off_by(seen["loop"] - time.monotonic(), 0)


@needs_clocks
@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["before its time", "behind its time"])
def test_every_wait_lasts_as_long_as_by_a_right_clock(jumping: Clock, ask: Ask, seconds: float) -> None:
    jumping.jump(seconds)
    eventually(lambda: assert_off_by(ask("read")["time"] - time.time(), seconds))
    for name, lasted in ask("wait").items():
        # By this machine's load it may be longer, but not by an hour: then this test would run into its own limit.
        assert lasted > WAIT * 0.9, name
    # Threads that wait for the interpreter ask for it every 5 ms, and not as fast as they can.
    assert ask("wait on conditions")["all"] > CONDITION_WAITS * 0.004


@needs_clocks
def test_postgresql_sees_its_clock_jump_keeps_what_was_committed_and_comes_back(
    jumping: Clock, state: StateFolder
) -> None:
    server = PostgresServer(state, {"fsync": "off"}, environment=jumping.environment())
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (at timestamptz NOT NULL DEFAULT now())")

        def offset(expression: str = "clock_timestamp()") -> float:
            row = connection.execute(f"SELECT extract(epoch FROM {expression})::float8").fetchone()
            assert row is not None
            return float(row[0]) - time.time()

        for seconds in (0, HOUR, -HOUR):
            jumping.jump(seconds)
            eventually(lambda seconds=seconds: assert_off_by(offset(), seconds))  # type: ignore[misc]
            assert_off_by(offset("now()"), seconds)
            connection.execute("INSERT INTO kept DEFAULT VALUES")
            # Limits of statements are by a timer of the kernel's, which knows nothing of jumps.
            connection.execute("SET statement_timeout = '100ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(30)")
            connection.execute("RESET statement_timeout")
    server.kill()
    server.restart()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (3,)
    server.stop()


@needs_clocks
def test_redis_sees_its_clock_jump_and_its_streams_stay_in_order(jumping: Clock, state: StateFolder) -> None:
    server = RedisServer(state, environment=jumping.environment())
    server.start()
    ids: list[bytes] = []
    with redis.Redis.from_url(server.url, protocol=2, socket_timeout=10) as client:
        for seconds in (0, HOUR, -HOUR):
            jumping.jump(seconds)
            eventually(lambda seconds=seconds: assert_off_by(client.time()[0] - time.time(), seconds))  # type: ignore[misc]
            ids += [client.xadd("stream", {"n": number}) for number in range(10)]
        # Forward an id follows the clock. Backward it stays behind the last.
        assert_off_by(int(ids[10].partition(b"-")[0]) / 1000 - time.time(), HOUR)
        assert ids[20].partition(b"-")[0] == ids[19].partition(b"-")[0]
        server.kill()
        server.restart()
        assert [entry for entry, _ in client.xrange("stream")] == ids
    server.stop()


@needs_clocks
def test_a_jump_before_the_start_holds_from_the_start(jumping: Clock) -> None:
    jumping.jump(HOUR)
    assert_off_by(float(seen_with(jumping)) - time.time(), HOUR)


@needs_clocks
def test_a_killed_process_leaves_nothing_behind_once_its_clock_is_removed(tmp_path: Path) -> None:
    made = Clock(tmp_path / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"],
        env=dict(os.environ) | made.environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert leftovers(process.pid)
    made.remove()
    assert not leftovers(process.pid)
    assert not (tmp_path / "clock").exists()


@needs_clocks
def test_a_folder_of_which_the_loader_cannot_be_told_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "unprivileged_account", lambda: None)  # nobody from whom it would be out of reach
    (tmp_path / "with space").mkdir()
    made = Clock(tmp_path / "with space" / "clock")
    made.jump(HOUR)
    assert_off_by(float(seen_with(made)) - time.time(), HOUR)
    elsewhere = (tmp_path / "with space" / "clock").resolve()
    made.remove()
    assert not elsewhere.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "with space"))
    with pytest.raises(RuntimeError, match="a space or a colon"):
        made.environment()


def test_without_the_package_no_clock_jumps_and_processes_run_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def missing(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "libfaketime" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    assert not clock.available()
    assert Clock(tmp_path / "clock").environment() == {}


def test_a_python_whose_waits_need_the_wall_clock_has_no_clock_that_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: None)
    assert not clock.available()
    assert Clock(tmp_path / "clock").environment() == {}
