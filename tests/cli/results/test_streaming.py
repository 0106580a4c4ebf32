"""Any number of events passes through little memory, to readers that stop and disks that fill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy import Engine, text

ROOT = Path(__file__).parents[3]

_MANY = """
INSERT INTO azure_engagement_events (
    event_id, engagement_type, engagement_context, user_agent, campaign_id, subscriber_id, internet_message_id,
    event_timestamp, received_at, state, matched_by)
SELECT 'event ' || n, 'click', rpad('https://www.example.com/' || n, 100, 'x'), rpad('Mozilla/5.0 ', 40, 'y'), 67, n,
       '<m' || n || '@example.com>', timestamptz '2026-01-01Z' + n * interval '1 second', now(), 'attributed',
       'internet_message_id'
  FROM generate_series(1, 120000) AS n
"""


@pytest.mark.timeout(180)
def test_more_than_a_hundred_thousand_events_pass_through_the_memory_of_a_few(empty: Engine) -> None:
    few, _ = _peak_bytes("--campaign", "67")
    with empty.begin() as conn:
        conn.execute(text(_MANY))
    for arguments, least in (((), 32_000_000), (("--format", "json", "--since", "2026-01-01T12"), 16_000_000)):
        peak, written = _peak_bytes("--campaign", "67", *arguments)
        assert written > least
        assert peak - few < 10_000_000


def _peak_bytes(*arguments: str) -> tuple[int, int]:
    """Run ``attribution events``; return the most memory it held, and how much it wrote."""
    with _started(*arguments) as process:
        assert process.stdout
        written = 0
        while block := process.stdout.read(1 << 20):
            written += len(block)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024, written


def _started(*arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli", "events", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE)


def test_a_reader_that_has_had_enough_ends_the_command_quietly(empty: Engine) -> None:
    with empty.begin() as conn:
        conn.execute(text(_MANY.replace("120000", "5000")))
    with _started("--campaign", "67") as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"event_id,kind")
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_full_disk_is_one_sentence(empty: Engine) -> None:
    with empty.begin() as conn:
        conn.execute(text(_MANY.replace("120000", "100")))
    with (
        Path("/dev/full").open("wb") as full,
        _started("--campaign", "67", stdout=full) as process,
    ):
        _, complaint = process.communicate()
    assert process.returncode == 1
    assert complaint == b"The rows could not be written: No space left on device.\n"
