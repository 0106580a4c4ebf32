"""Programs run as by `python -m`, with changes inside their processes that pass on to what they start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
import redis

from proof import sabotage
from proof.launch import POISON, through_launch
from tests.processes import children_of
from tests.tasks.payloads import body_of, engagement
from tests.waiting import eventually
from worker.drain_keeper import COMMAND
from worker.streams import EVENTS, GROUP

ROOT = Path(__file__).parents[2]
POISONED = POISON.decode().lstrip('"')

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start ``python -m proof.launch …`` in a group of its own, which ends with the test."""
    with ExitStack() as endings:

        def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "proof.launch", *arguments],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{tmp_path}", **environment},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            endings.callback(end, process)
            return process

        yield start


def end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def command_of(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return []


def test_a_module_runs_as_the_main_program_with_its_own_arguments(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(
        "import json, sys\nprint(json.dumps([__name__, sys.modules['__main__'].__file__, *sys.argv]))\nsys.exit(7)\n"
    )
    code, out, _ = finished(launch("--poison", "--", "shown", "--poison", "--sabotage=x", "--", "last"))
    module = str(tmp_path / "shown.py")
    assert json.loads(out) == ["__main__", module, module, "--poison", "--sabotage=x", "--", "last"]
    assert code == 7
    assert json.loads(finished(launch("shown", "-x"))[1])[3:] == ["-x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sabotage", "no-such", "shown"], "there is no sabotage 'no-such'; there are acknowledge-first"),
        (["--no-such", "shown"], "unrecognized arguments: --no-such"),
        ([], "the following arguments are required: module"),
    ],
    ids=["an unknown sabotage", "an unknown option", "nothing to run"],
)
def test_what_cannot_be_run_is_refused(launch: Launch, tmp_path: Path, arguments: Sequence[str], words: str) -> None:
    (tmp_path / "shown.py").write_text("print('it ran')\n")
    code, out, err = finished(launch(*arguments))
    assert (code, out) == (2, "")
    assert words in err


def test_programs_of_ours_go_through_the_launch_and_others_do_not() -> None:
    options = ["--sabotage", "x", "--poison"]
    assert through_launch([sys.executable, "-m", "celery", "worker"], options) == [
        sys.executable, "-m", "proof.launch", "--sabotage", "x", "--poison", "--", "celery", "worker",
    ]  # fmt: skip
    assert through_launch(["/bin/sh", "-m", "celery"], options) == ["/bin/sh", "-m", "celery"]
    assert through_launch([sys.executable, "script.py"], options) == [sys.executable, "script.py"]
    assert through_launch(COMMAND, [])[-1] == COMMAND[-1], "by which a drain process is told from a Celery child"


def test_without_the_option_a_poisoned_body_is_a_body_like_any_other(
    launch: Launch, database_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    drain = launch("tasks.drainer", **environment(database_url, redis_url))
    redis_client.xadd(EVENTS, {"body": body_of(engagement(POISONED + "1"))})
    eventually(lambda: assert_stored(database_url, 1), within=30)
    assert drain.poll() is None


def test_a_sabotaged_drain_process_is_broken_before_it_begins(
    launch: Launch, database_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    sabotage.prepare("no-unique-key", database_url)
    launch("--sabotage", "no-unique-key", "--", "tasks.drainer", **environment(database_url, redis_url))
    for _ in range(2):
        redis_client.xadd(EVENTS, {"body": body_of(engagement("one"))})
    eventually(lambda: assert_stored(database_url, 2), within=40)


@pytest.mark.timeout(120)
def test_a_drain_dies_of_poison_again_and_again_until_it_is_quarantined(
    launch: Launch, database_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    worker = launch("--poison", "--", "cli", "worker", "--concurrency=1", **environment(database_url, redis_url))
    first = eventually(lambda: drain_of(worker.pid), within=40)
    assert "--poison" in command_of(first)
    eventually(lambda: assert_group(redis_client), within=30)
    redis_client.xadd(EVENTS, {"body": body_of(engagement(POISONED + "1"))})
    with psycopg.connect(database_url, autocommit=True) as connection:

        def assert_quarantined() -> None:
            rows = connection.execute("SELECT reason, body FROM attribution_quarantine").fetchall()
            assert [reason for reason, _ in rows] == ["delivered_too_often"]
            assert [bytes(body) for _, body in rows] == [body_of(engagement(POISONED + "1"))]

        eventually(assert_quarantined, within=80)
    redis_client.xadd(EVENTS, {"body": body_of(engagement("another"))})
    eventually(lambda: assert_stored(database_url, 1), within=20)
    assert command_of(first) == [], "nobody has died of it"
    assert worker.poll() is None
    eventually(lambda: assert_drained(redis_client), within=10)


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "ATTRIBUTION_DATABASE_URL": database_url,
        "ATTRIBUTION_REDIS_URL": redis_url,
        "ATTRIBUTION_CLAIM_AFTER": "0.5",
        "ATTRIBUTION_MAX_DELIVERIES": "4",
        "ATTRIBUTION_DRAIN_PROCESSES": "1",
        "ATTRIBUTION_RECIPIENTS": "plain",  # what is quarantined is compared with what was sent
        "ATTRIBUTION_METRICS_PORT": "0",
    }


def drain_of(worker: int) -> int:
    drains = [pid for pid in children_of(worker) if COMMAND[-1] in command_of(pid)]
    assert drains
    return drains[0]


def assert_group(client: redis.Redis) -> None:
    assert client.exists(EVENTS)
    assert client.xinfo_groups(EVENTS)


def assert_stored(database_url: str, count: int) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM azure_engagement_events").fetchone() == (count,)


def assert_drained(client: redis.Redis) -> None:
    assert client.xlen(EVENTS) == 0
    assert client.xpending(EVENTS, GROUP)["pending"] == 0
