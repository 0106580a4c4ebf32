"""The system as it runs: its programs as processes, on servers of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.programs import Program, free_port
from tests.waiting import eventually

EVENT_SECRET = "event-secret-of-the-tests"
MESSAGE_SECRET = "message-secret-of-the-tests"

StartProgram = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartProgram]:
    """Start ``attribution NAME …`` with an environment; it is ended with the test."""
    with ExitStack() as programs:

        def run(name: str, *options: str, **environment: Any) -> Program:
            program = Program(
                name,
                *options,
                environment={key.upper(): str(value) for key, value in environment.items()},
                folder=tmp_path,
            )
            programs.callback(program.end)
            return program

        yield run


@dataclass(frozen=True)
class RunningStack:
    """Where the running system is reached."""

    receiver_url: str
    event_secret: str
    message_secret: str
    redis_url: str
    database_url: str
    receiver: Program
    worker: Program


@pytest.fixture
def running_stack(start: StartProgram, database_url: str, redis_url: str, redis_client: redis.Redis) -> RunningStack:
    """Receiver and worker, ready. No beat: nothing in daily work may need it."""
    port = free_port()
    environment = {
        "attribution_database_url": database_url,
        "attribution_redis_url": redis_url,
        "attribution_event_secrets": EVENT_SECRET,
        "attribution_message_secrets": MESSAGE_SECRET,
        "attribution_port": port,
        "attribution_claim_after": 2,
    }
    receiver = start("receiver", **environment)
    worker = start("worker", **environment)
    eventually(lambda: assert_said(worker, "ready"), within=30)
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: assert_ready(url), within=30)
    return RunningStack(url, EVENT_SECRET, MESSAGE_SECRET, redis_url, database_url, receiver, worker)


def assert_said(program: Program, words: str) -> None:
    """Look for words in what a program has logged."""
    assert words in program.log, program.log[-2000:]


def assert_ready(url: str) -> None:
    """Ask a receiver whether it takes requests."""
    import httpx

    try:
        assert httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError as error:
        raise AssertionError(str(error)) from error
