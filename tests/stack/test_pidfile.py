"""A pid file is held by the process it names for exactly as long as any of it lives."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from stack.errors import StackBusy
from stack.pidfile import PidFile
from tests.waiting import eventually


def spawn(file: PidFile, script: str) -> subprocess.Popen[bytes]:
    return file.spawn(
        ["/bin/sh", "-c", script], settings="of this test", output=subprocess.DEVNULL, environment={"PATH": os.defpath}
    )


def test_it_is_free_before_and_after(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "a.pid")
    assert file.running() is None
    process = spawn(file, "exec sleep 60")
    running = file.running()
    assert running is not None
    assert (running.pid, running.settings) == (process.pid, "of this test")
    process.kill()
    assert file.wait_until_free(5, process)
    assert file.running() is None


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "a.pid")
    process = spawn(file, "exec sleep 60")
    with pytest.raises(StackBusy):
        spawn(PidFile(tmp_path / "a.pid"), "exec sleep 60")
    running = file.running()
    assert running is not None
    assert running.pid == process.pid
    process.kill()
    assert file.wait_until_free(5, process)


def test_it_is_held_until_the_last_child_is_gone(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "a.pid")
    process = spawn(file, f"sleep 60 & touch {tmp_path}/started; wait")
    eventually(lambda: _assert_exists(tmp_path / "started"))
    process.kill()
    process.wait()
    assert not file.wait_until_free(0.2, process)
    os.killpg(process.pid, signal.SIGKILL)
    assert file.wait_until_free(5, process)


def _assert_exists(path: Path) -> None:
    assert path.exists()


def test_a_number_left_by_a_dead_process_names_nobody(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "a.pid")
    file.path.write_text(f'{{"pid": {os.getpid()}, "settings": ""}}')
    assert file.running() is None


def test_a_process_that_cannot_be_told_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "a.pid")
    process = spawn(file, "exec sleep 60")
    file.path.write_text("")  # as when its starter was killed before it could write
    with pytest.raises(StackBusy, match=f"fuser -k {file.path}"):
        file.running()
    process.kill()
    assert file.wait_until_free(5, process)
