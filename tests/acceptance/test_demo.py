"""`attribution demo`, from nothing to its verdict, twice: the second time in the folder that the first one left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.truth import Truth
from stack.state import port_is_free

ROOT = Path(__file__).parents[2]


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTRIBUTION_")}
    command = [sys.executable, "-m", "cli", "demo", "--state-dir", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that have to do with ``folder``."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder) in line or str(folder).encode() in variables:
            lines.append(line)
    return lines


@pytest.mark.timeout(240)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it looks for processes in /proc")
def test_demo_ends_sound_and_leaves_nothing_running(state_folder: Path) -> None:
    folder = state_folder
    for seed in (42, 43):
        ran = run_demo(folder, "--seed", str(seed))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Sound: every one of" in ran.stdout
        assert "Autumn sale (cancelled)" in ran.stdout
        assert processes_of(folder) == []
        ports = [server["port"] for server in json.loads((folder / "stack.json").read_text()).values()]
        assert len(ports) == 3
        assert all(port_is_free(port) for port in ports)
        truth = Truth.read(folder / "truth.jsonl")
        assert set(truth.events) == set(truth.acknowledged)
        assert len(truth.messages) == 808
