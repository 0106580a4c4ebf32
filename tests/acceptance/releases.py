"""The release before the newest migration, out of the history, and traffic that goes on while releases change."""

from __future__ import annotations

import subprocess
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import EVENT_SECRET, MESSAGE_SECRET
from tests.acceptance.programs import ROOT
from tests.tasks.payloads import body_of, engagement

VERSIONS = "migrations/versions"


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


def release_before_the_newest_migration() -> str:
    """Return the commit of the newest release whose code does not know the newest migration of this checkout.

    It is the one that runs while a deploy of this checkout migrates. The test is skipped where history does not tell.
    """
    newest = max(path.name for path in (ROOT / VERSIONS).glob("r*.py"))
    try:
        added = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", f"{VERSIONS}/{newest}").decode().strip()
        return _git("rev-parse", f"{added}^" if added else "HEAD").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no history here that holds the commit before {newest}: a copy without git, or a shallow clone")


def check_out(commit: str, folder: Path) -> Path:
    """Put the files of a commit into a folder, and return it."""
    with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
        archive.extractall(folder, filter="data")
    return folder


class Traffic:
    """A mailer and Event Grid: message after message, each opened once, on whichever receiver answers next.

    Every other open comes before its message is tracked, and every tenth is delivered twice. Each is by another reader
    of its campaign, so that listmonk must have exactly one view of each. A refusal is an error: nobody is turned away.
    """

    def __init__(self, receivers: Sequence[str]) -> None:
        self.receivers = list(receivers)
        self.sent = 0
        self._client = httpx.Client(timeout=10)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, count: int) -> None:
        """Send so many messages and their opens."""
        for _ in range(count):
            number, receiver = self.sent, self.receivers[self.sent % len(self.receivers)]
            steps = [self._track, self._open] if number % 2 else [self._open, self._track]
            for step in steps + [self._open] * (number % 10 == 0):
                step(receiver, number)
            self.sent += 1

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Send on and on for as long as the block takes. What fails in it fails at its end."""
        ended = threading.Event()
        failures: list[BaseException] = []

        def keep_sending() -> None:
            try:
                while not ended.wait(0.01):  # the machine is to start and stop programs, too
                    self.send(1)
            except BaseException as failure:
                failures.append(failure)

        sender = threading.Thread(target=keep_sending)
        sender.start()
        try:
            yield
        finally:
            ended.set()
            sender.join()
        if failures:
            raise failures[0]

    def _track(self, receiver: str, number: int) -> None:
        campaign, subscriber = to(number)
        message = {
            "internet_message_id": _message_id(number),
            "campaign_id": campaign,
            "subscriber_id": subscriber,
        }
        answer = self._client.post(
            f"{receiver}/messages", json=message, headers={"Authorization": f"Bearer {MESSAGE_SECRET}"}
        )
        assert answer.status_code == 202, answer.text

    def _open(self, receiver: str, number: int) -> None:
        event = engagement(
            f"e{number}", internet_message_id=_message_id(number), engagementType="view", engagementContext=""
        )
        answer = self._client.post(
            f"{receiver}/eventgrid", content=body_of(event), headers={"x-attribution-secret": EVENT_SECRET}
        )
        assert answer.status_code == 200, answer.text


def _message_id(number: int) -> str:
    return f"<m{number}@mail.example.com>"


def to(number: int) -> tuple[int, int]:
    """Return the campaign and the subscriber of a message."""
    return number // 1000 + 1, number % 1000 + 1
