"""Programs side by side: merged output, one's end the end of all, and nothing left of any."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.errors import ProcessDied
from stack.pidfile import PidFile
from stack.processes import Program, Supervisor
from tests.processes import lives
from tests.waiting import eventually

FOREVER = "echo up; while true; do sleep 0.1; done"
ROOT = Path(__file__).parents[2]


Supervise = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor of scripts in a process of its own, which is gone after the test."""
    started = []

    def start(**scripts: str) -> subprocess.Popen[str]:
        arguments = [part for item in scripts.items() for part in item]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.stack.supervised", tmp_path, *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        with process:
            while process.poll() is None:  # the first asks it to end, the second to hurry
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)


@pytest.fixture
def supervise(start: Supervise) -> Supervise:
    """The same, returning when the scripts run. Each says "up" when it does."""
    return lambda **scripts: _await(start(**scripts), scripts)


def _await(process: subprocess.Popen[str], scripts: dict[str, str]) -> subprocess.Popen[str]:
    assert process.stdout is not None
    awaited = {"all: ready\n", *(f"{name}: up\n" for name in scripts)}
    while awaited:
        line = process.stdout.readline()
        assert line, "the supervisor ended"
        awaited.discard(line)
    return process


def run(folder: Path, *programs: Program) -> list[str]:
    """Supervise in this process until one ends."""
    shown: list[str] = []
    with pytest.raises(ProcessDied) as died:
        Supervisor(folder, programs, lambda name, line: shown.append(f"{name}: {line}")).run(lambda: None)
    return [*shown, str(died.value)]


def program(name: str, script: str, port: int | None = None) -> Program:
    return Program(name, ["/bin/sh", "-c", script], dict(os.environ), port=port)


def left_in(folder: Path) -> list[str]:
    return [file.stem for file in sorted(folder.glob("*.pid")) if not PidFile(file).is_free()]


def test_one_that_dies_is_named_with_its_last_words_and_ends_all(tmp_path: Path) -> None:
    *shown, obituary = run(tmp_path, program("one", FOREVER), program("two", "echo oh; echo no >&2; exit 3"))
    assert "two: oh" in shown
    assert "two: no" in shown
    assert "one: ending" in shown
    assert obituary.startswith("two ended with exit code 3, so everything was stopped.")
    assert "oh\n  no" in obituary
    assert left_in(tmp_path) == []


def test_one_that_is_killed_is_said_to_have_been(tmp_path: Path) -> None:
    assert run(tmp_path, program("one", "kill -9 $$"))[-1].startswith("one was ended by SIGKILL")


def test_bytes_that_are_no_text_are_shown_as_well_as_can_be(tmp_path: Path) -> None:
    assert "one: \ufffd!" in run(tmp_path, program("one", r"printf '\377!\n'"))


def test_readiness_is_told_once_when_all_that_listen_do_so(tmp_path: Path) -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        port = late.getsockname()[1]
        told: list[float] = []
        threading.Timer(0.5, late.listen).start()
        started = time.monotonic()
        with pytest.raises(ProcessDied):
            Supervisor(tmp_path, [program("one", "sleep 1", port=port)], lambda name, line: None).run(
                on_ready=lambda: told.append(time.monotonic() - started)
            )
    assert len(told) == 1
    assert told[0] > 0.4


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_asked_to_end_it_ends_all_in_reverse_order(
    supervise: Supervise, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    supervisor = supervise(one=FOREVER, two=FOREVER, three=FOREVER)
    os.killpg(supervisor.pid, number)  # as a terminal does; the programs get only what the supervisor gives them
    output, _ = supervisor.communicate(timeout=20)
    assert output.splitlines() == ["three: ending", "two: ending", "one: ending"]
    assert supervisor.returncode == code
    assert left_in(tmp_path) == []


def test_a_closed_terminal_ends_all_as_well(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(one=FOREVER, two=FOREVER)
    assert supervisor.stdout is not None
    supervisor.stdout.close()
    supervisor.send_signal(signal.SIGHUP)
    supervisor.wait(timeout=20)
    assert left_in(tmp_path) == []


def test_programs_may_finish_their_work_first(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(one="trap 'sleep 1; echo finished; exit 0' TERM; " + FOREVER)
    supervisor.terminate()
    output, _ = supervisor.communicate(timeout=20)
    assert output.splitlines() == ["one: ending", "one: finished"]


def test_one_that_will_not_end_is_killed_after_its_grace(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(stubborn="trap '' TERM; " + FOREVER)
    supervisor.terminate()
    started = time.monotonic()
    supervisor.communicate(timeout=20)
    assert 1.5 < time.monotonic() - started < 10
    assert left_in(tmp_path) == []


def test_a_second_ctrl_c_does_not_wait(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(one="trap '' TERM; " + FOREVER)
    assert supervisor.stdout is not None
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.stdout.readline() == "one: ending\n"
    supervisor.send_signal(signal.SIGINT)
    supervisor.communicate(timeout=10)  # its grace is 15 seconds
    assert left_in(tmp_path) == []


def test_what_a_program_started_ends_with_it(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(one="sleep 300 & echo $! > " + str(tmp_path / "grandchild") + "; " + FOREVER)
    grandchild = eventually(lambda: _read_number(tmp_path / "grandchild"))
    supervisor.terminate()
    supervisor.communicate(timeout=20)
    eventually(lambda: _assert_gone(grandchild), within=2)


def _assert_gone(pid: int) -> None:
    assert not lives(pid)


def _read_number(file: Path) -> int:
    assert file.exists()
    text = file.read_text()
    assert text.endswith("\n")
    return int(text)


def test_programs_of_a_killed_supervisor_end_before_the_next_start(supervise: Supervise, tmp_path: Path) -> None:
    killed = supervise(one=FOREVER)
    killed.kill()
    killed.communicate()
    assert left_in(tmp_path) == ["one"]
    before = PidFile(tmp_path / "one.pid").running()
    supervisor = supervise(one=FOREVER)
    after = PidFile(tmp_path / "one.pid").running()
    assert before != after
    assert after is not None
    supervisor.terminate()
    supervisor.communicate(timeout=20)
    assert left_in(tmp_path) == []


def test_a_request_to_end_while_leftovers_are_ended_is_honoured(
    supervise: Supervise, start: Supervise, tmp_path: Path
) -> None:
    killed = supervise(one="trap '' TERM; " + FOREVER)
    killed.kill()
    killed.communicate()
    supervisor = start(one=FOREVER)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "one: ending the one that a killed run left behind\n"
    supervisor.terminate()
    time.sleep(0.1)
    supervisor.send_signal(signal.SIGINT)
    output, _ = supervisor.communicate(timeout=10)
    assert "ready" not in output
    assert left_in(tmp_path) == []
