"""The proof against an installation that runs already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import RunningStack
from tests.acceptance.programs import ROOT


def prove(stack: RunningStack, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "cli", "prove", "--target", f"{stack.receiver_url}/eventgrid", "--database",
            stack.database_url, "--state-dir", str(folder), "--events", "600", "--seed", "5", *options,
        ],
        env={
            "PROVE_SECRET": stack.event_secret,
            "PROVE_MESSAGE_SECRET": stack.message_secret,
            "COLUMNS": "100",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )  # fmt: skip


@pytest.mark.timeout(200)
def test_a_running_installation_is_proved_without_faults_again_and_again(
    running_stack: RunningStack, tmp_path: Path
) -> None:
    for _ in range(2):
        ran = prove(running_stack, tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "PROVED: lost 0, twice 0, wrong 0" in ran.stdout
        assert running_stack.event_secret not in ran.stdout + ran.stderr
    with psycopg.connect(running_stack.database_url) as connection:
        (events,) = connection.execute("SELECT count(*) FROM azure_engagement_events").fetchone() or (0,)
    assert events > 500  # of two stories, not of one that was redelivered
