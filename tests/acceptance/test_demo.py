"""`attribution demo`, from nothing to its verdict; with ``--longer`` again, in the folder that the first one left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.story import CANCELLED, RUNNING
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
def test_demo_ends_sound_and_leaves_nothing_running(state_folder: Path, longer: bool) -> None:
    folder = state_folder
    for seed in (42, 43) if longer else (42,):
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
        assert_listmonk_is_shown(ran.stdout, truth)
        assert_accident_is_repaired(ran.stdout)
        assert len(truth.messages) == 808


def assert_listmonk_is_shown(printed: str, truth: Truth) -> None:
    """Of every campaign: listmonk's own rows, the system's for what only Azure saw, and no third for what both saw."""
    _, _, shown = printed.partition("The same in listmonk's tables")
    for campaign, name in ((CANCELLED, "Autumn sale (cancelled)"), (RUNNING, "Newsletter (running)")):
        numbers = re.search(rf"{re.escape(name)} +(\d+) \+ (\d+) = (\d+) +(\d+) \+ (\d+) = (\d+) +(\d+) +(\d+)", shown)
        assert numbers is not None, printed
        expected = []
        acts = [act for act in truth.native if act.campaign_id == campaign]
        seen_by_both = {act.event_id for act in acts} - {None}
        tables = [
            event.table if event.event_id not in seen_by_both else None
            for event in truth.events.values()
            if event.message and truth.messages[event.message].campaign_id == campaign and event.what != "suppressed"
        ]
        for what, table in (("view", "campaign_views"), ("click", "link_clicks")):
            native, ours = sum(act.what == what for act in acts), tables.count(table)
            assert native
            assert ours
            expected += [native, ours, native + ours]
        expected += [tables.count("bounces"), len(seen_by_both)]
        assert [int(number) for number in numbers.groups()] == expected


def assert_accident_is_repaired(printed: str) -> None:
    moved = re.search(r"^64 +\D(\d+) .*\n65 +\+(\d+) ", printed, re.MULTILINE)
    assert moved is not None, printed
    assert int(moved[1]) >= int(moved[2]) > 20
    assert "restores them" in printed
    assert "Repaired: each of" in printed
