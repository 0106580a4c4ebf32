"""The receiver as a process: how it starts, what it says, how it stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.receiving import EVENT_SECRET, MESSAGE_SECRET, Caller, entries, read_answer, request_bytes
from worker.streams import EVENTS

EVENT = b'[{"id": "8a1f"}]'
MODULE = ("-m", "worker.receiver")
UVICORN = ("-m", "uvicorn", "--factory", "worker.receiver:create_app", "--port", "0")


class Running:
    """A receiver in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [json.loads(line) for line in self.lines]

    def caller(self) -> Caller:
        """Wait until it listens."""

        def port() -> int:
            said = [line["message"] for line in self.log if line["message"].startswith("Uvicorn running on")]
            assert said, self.lines
            return int(said[0].split(":")[2].split(" ")[0])

        return Caller(eventually(port, within=30))

    def stop(self) -> int:
        """Tell it to stop, and return how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended and all that it said was read."""
        code = self.process.wait(30)
        self._reader.join()
        return code


@contextmanager
def running(*command: str, **settings: str) -> Iterator[Running]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTRIBUTION_")}
    environment |= {f"ATTRIBUTION_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True)
    receiver = Running(process)
    try:
        yield receiver
    finally:
        if process.poll() is None:
            process.kill()
        receiver.wait()
        assert process.stderr is not None
        process.stderr.close()


def settings(redis_url: str, **others: str) -> dict[str, str]:
    return {
        "redis_url": redis_url,
        "port": "0",
        "event_secrets": EVENT_SECRET,
        "message_secrets": MESSAGE_SECRET,
    } | others


def test_refuses_to_start_without_a_secret_and_says_what_to_do(redis_url: str) -> None:
    with running(*MODULE, **settings(redis_url, event_secrets="")) as receiver:
        assert receiver.wait() == 1
        (sentence,) = receiver.lines
        assert "set ATTRIBUTION_EVENT_SECRETS" in sentence


def test_refuses_to_start_on_a_redis_that_loses_data_and_says_what_to_do(private_redis: MakeRedis) -> None:
    server = private_redis(appendfsync="everysec")
    with running(*MODULE, **settings(server.url)) as receiver:
        assert receiver.wait() == 1
        (sentence,) = receiver.lines
        assert "CONFIG SET appendfsync always" in sentence


def test_starts_on_it_all_the_same_if_told_to(private_redis: MakeRedis) -> None:
    server = private_redis(appendfsync="everysec")
    with running(*MODULE, **settings(server.url, allow_unsafe_redis="true")) as receiver:
        assert receiver.caller().post_events(EVENT).status == 200
        warnings = [line["message"] for line in receiver.log if line["level"] == "WARNING"]
        assert "appendfsync is 'everysec'" in warnings[0], "but not in silence"


def test_starts_without_redis_and_waits_for_it() -> None:
    with running(*MODULE, **settings("redis://127.0.0.1:1")) as receiver:
        caller = receiver.caller()
        assert caller.send("GET", "/healthz").status == 200
        assert caller.send("GET", "/readyz").status == 503
        assert caller.post_events(EVENT).status == 503


def test_refuses_to_start_on_an_address_that_is_taken(redis_url: str) -> None:
    with running(*MODULE, **settings(redis_url)) as first:
        port = str(first.caller().port)
        with running(*MODULE, **settings(redis_url, port=port)) as second:
            assert second.wait() not in (0, None)
            assert any("address already in use" in line["message"] for line in second.log)


@pytest.mark.parametrize("command", [MODULE, UVICORN], ids=["module", "uvicorn"])
def test_no_secret_is_ever_logged(command: tuple[str, ...], redis_url: str) -> None:
    wrong = "another-secret-0123456789"
    with running(*command, **settings(redis_url, log_level="DEBUG")) as receiver:
        caller = receiver.caller()
        for secret in (EVENT_SECRET, wrong):
            caller.send("POST", f"/eventgrid?code={secret}", {"X-Attribution-Secret": secret}, EVENT)
            caller.send("POST", "/messages", {"Authorization": f"Bearer {secret}"}, EVENT)
            caller.send("GET", f"/nowhere?code={secret}")
        caller.send("POST", f"/eventgrid?code={wrong}", {"aeg-subscription-name": "ACS\x1b[31m"}, EVENT)
        receiver.stop()

    said = "".join(receiver.lines)
    assert "refused" in said
    for confidential in (EVENT_SECRET, MESSAGE_SECRET, wrong, "code=", redis_url.split("@")[0], "8a1f", "\x1b"):
        assert confidential not in said


def test_refused_callers_fill_no_log(redis_url: str) -> None:
    with running(*MODULE, **settings(redis_url)) as receiver:
        caller = receiver.caller()
        for _ in range(20):
            caller.send("POST", "/eventgrid", {"aeg-subscription-name": "ACS"}, EVENT)
        receiver.stop()

    refused = [line for line in receiver.log if "refused" in line["message"]]
    assert len(refused) == 1
    assert refused[0]["subscription"] == "ACS"


def test_request_that_has_begun_is_finished_when_it_is_told_to_stop(redis_url: str, redis_client: redis.Redis) -> None:
    with running(*MODULE, **settings(redis_url)) as receiver:
        caller = receiver.caller()
        with caller.connect() as connection:
            request = request_bytes("POST", f"/eventgrid?code={EVENT_SECRET}", {"Expect": "100-continue"}, EVENT)
            connection.sendall(request.removesuffix(EVENT))
            assert connection.recv(100).startswith(b"HTTP/1.1 100"), "it has begun"
            receiver.process.send_signal(signal.SIGTERM)
            eventually(lambda: assert_said(receiver, "Shutting down"))
            connection.sendall(EVENT)
            assert read_answer(connection).status == 200
        assert receiver.wait() in (0, -signal.SIGTERM)

    assert entries(redis_client, EVENTS) == [{b"body": EVENT}]


def assert_said(receiver: Running, message: str) -> None:
    assert message in [line["message"] for line in receiver.log]


def test_receiver_imports_nothing_that_it_does_not_need() -> None:
    program = "import sys, worker.receiver; print(*{name.partition('.')[0] for name in sys.modules})"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    unwanted = {"celery", "kombu", "sqlalchemy", "psycopg", "azure", "tasks", "db", "alembic"}
    unwanted |= {"sentry_sdk"}  # unless it is asked for
    assert unwanted & set(printed.split()) == set()
