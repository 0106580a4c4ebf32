"""Programs are started again whenever they end, and nothing of them is left in the end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from proof.programs import Program, Programs
from tests.processes import lives, status_of
from tests.waiting import eventually

#: Starts a child, says its pid, and waits for SIGTERM, at which it says goodbye. The child ends when nobody holds the
#: other end of its input any more.
SCRIPT = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", flush=True), os._exit(0)))
print("child", child.pid, os.environ["GREETING"], flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def greetings() -> list[str]:
    return ["hello"]


@pytest.fixture
def program(tmp_path: Path, greetings: list[str]) -> Iterator[Program]:
    made = Program(
        "talker", [sys.executable, "-c", SCRIPT], lambda: {"GREETING": greetings[-1]}, tmp_path / "talker.log"
    )
    with Programs([made]):
        eventually(lambda: said(made, "child"), within=20)
        yield made


def said(program: Program, word: str, times: int = 1) -> None:
    assert program.log.read_text().count(word) >= times


def pid_of(program: Program) -> int:
    assert program.pid is not None
    return program.pid


def test_a_program_that_is_killed_is_started_again(program: Program) -> None:
    former = pid_of(program)
    program.kill()
    assert not lives(former)
    eventually(lambda: said(program, "child", 2), within=20)
    assert program.starts == 2


def test_a_program_that_ends_by_itself_is_started_again(program: Program) -> None:
    os.kill(pid_of(program), signal.SIGTERM)
    eventually(lambda: said(program, "child", 2), within=20)


def test_a_restart_ends_it_in_order_and_takes_the_new_environment(program: Program, greetings: list[str]) -> None:
    greetings.append("salute")
    program.restart()
    said(program, "goodbye")
    eventually(lambda: said(program, "salute"), within=20)


def test_a_frozen_program_stands_still_with_its_children_and_goes_on(program: Program) -> None:
    pids = [pid_of(program), *program.children(drains=False)]
    assert len(pids) == 2
    with program.frozen():
        eventually(lambda: all_are(pids, psutil.STATUS_STOPPED))
    eventually(lambda: all_are(pids, psutil.STATUS_SLEEPING))


def all_are(pids: list[int], status: str) -> None:
    assert {status_of(pid) for pid in pids} == {status}


def test_in_the_end_nothing_of_it_is_left(tmp_path: Path) -> None:
    made = Program("talker", [sys.executable, "-c", SCRIPT], lambda: {"GREETING": ""}, tmp_path / "log")
    with Programs([made]):
        eventually(lambda: said(made, "child"), within=20)
        pids = [pid_of(made), *made.children(drains=False)]
    said(made, "goodbye")
    assert made.pid is None
    eventually(lambda: none_of(pids))


def none_of(pids: list[int]) -> None:
    assert not [pid for pid in pids if lives(pid)]
