"""`attribution up`: one command, everything runs; one Ctrl-C, nothing does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from stack.pidfile import PidFile
from stack.state import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


class Up:
    """A running `attribution up`, and what it has printed."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.flower_port = free_port()
        options = [
            f"--state-dir={state}",
            f"--port={free_port()}",
            f"--flower-port={self.flower_port}",
            f"--metrics-port={free_port()}",
        ]
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *options],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def address(self, name: str) -> str:
        """Return the address printed for ``name``, once it is."""

        def printed() -> str:
            found = re.search(rf"^  {name} +(\S+)$", self.output, re.MULTILINE)
            assert found, self.output
            return found[1]

        return eventually(printed, within=30)

    def end(self, number: signal.Signals) -> int:
        """Signal it and return its exit code."""
        os.killpg(self.process.pid, number)
        code = self.process.wait(timeout=40)
        self._reader.join()
        return code


@pytest.fixture
def up(state_folder: Path) -> Iterator[Up]:
    running = Up(state_folder)
    yield running
    with running.process:
        while running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.5)


def left_in(state: Path) -> list[str]:
    return [file.stem for file in sorted(state.glob("*.pid")) if not PidFile(file).is_free()]


@pytest.mark.timeout(120)
def test_everything_runs_until_ctrl_c_and_nothing_after(up: Up) -> None:
    assert httpx.post(up.address("Events"), json=[]).status_code == 200
    flower = f"http://127.0.0.1:{up.flower_port}/"
    assert httpx.get(flower).status_code == 401
    assert httpx.get(up.address("Flower")).status_code == 200
    with psycopg.connect(up.address("PostgreSQL")) as connection:
        assert connection.execute("SELECT count(*) FROM azure_engagement_events").fetchone() == (0,)
    assert left_in(up.state) == ["beat", "flower", "postgres", "receiver", "redis", "worker"]
    eventually(lambda: _assert_in("ready", up), within=30)
    assert up.end(signal.SIGINT) == 0
    assert left_in(up.state) == []
    endings = [line.split()[0] for line in up.output.splitlines() if line.endswith("│ ending")]
    assert endings == ["flower", "beat", "worker", "receiver"]
    assert "Traceback" not in up.output


@pytest.mark.timeout(120)
def test_a_part_that_dies_is_named_and_everything_ends(up: Up) -> None:
    up.address("Events")
    beat = PidFile(up.state / "beat.pid").running()
    assert beat is not None
    os.kill(beat.pid, signal.SIGKILL)
    assert up.process.wait(timeout=60) == 1
    eventually(lambda: _assert_in("beat was ended by SIGKILL, so everything was stopped.", up))
    assert "Traceback" not in up.output
    assert left_in(up.state) == []


def _assert_in(words: str, up: Up) -> None:
    assert words in up.output
