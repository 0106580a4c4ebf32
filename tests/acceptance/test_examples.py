"""The mailers' examples, run as they stand: each is a program of its own, and what it tracks is recorded."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import threading
import uuid
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = {
    "http": DOCS / "examples" / "track_by_http.py",
    "stream": DOCS / "examples" / "track_by_redis.py",
    "celery": DOCS / "examples" / "track_by_celery.py",
}
#: What a door may be called in the database: the receiver puts what it is posted on the stream, too.
NAMES = {"http": {"http", "stream"}, "stream": {"stream"}, "celery": {"celery"}}


def environment(stack: Any) -> dict[str, str]:
    """What a mailer is given: addresses and its secret. No path to this project."""
    return {
        "PATH": os.environ["PATH"],
        "ATTRIBUTION_URL": stack.receiver_url,
        "ATTRIBUTION_MESSAGE_SECRET": stack.message_secret,
        "ATTRIBUTION_REDIS_URL": stack.redis_url,
        "ATTRIBUTION_BROKER_URL": stack.redis_url,
    }


def run(door: str, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an example from a folder where nothing of this project can be imported by accident."""
    command = [sys.executable, "-I", str(EXAMPLES[door]), *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60)


def tracked(stack: Any, internet_message_id: str) -> tuple[int, int | None, str]:
    """Wait for the row of a message, and return what is known of it."""

    def row() -> tuple[int, int | None, str]:
        with psycopg.connect(stack.database_url) as connection:
            found = connection.execute(
                "SELECT campaign_id, subscriber_id, tracked_via FROM azure_message_tracking"
                " WHERE internet_message_id = %s",
                (internet_message_id,),
            ).fetchone()
        assert found is not None
        return found

    return eventually(row, within=20)


def new_message_id() -> str:
    return f"<c7.{uuid.uuid4().hex}@mail.example.com>"


@pytest.mark.parametrize("door", EXAMPLES)
def test_example_tracks_a_message(running_stack: Any, tmp_path: Path, door: str) -> None:
    message_id = new_message_id()
    ran = run(door, tmp_path, "--campaign=7", "--subscriber=12", message_id, **environment(running_stack))
    assert (ran.returncode, ran.stderr) == (0, "")
    campaign_id, subscriber_id, tracked_via = tracked(running_stack, message_id)
    assert (campaign_id, subscriber_id) == (7, 12)
    assert tracked_via in NAMES[door]


@pytest.mark.parametrize("door", EXAMPLES)
def test_example_leaves_the_subscriber_out_of_a_message_to_several(
    running_stack: Any, tmp_path: Path, door: str
) -> None:
    message_id = new_message_id()
    ran = run(door, tmp_path, "--campaign=8", message_id, **environment(running_stack))
    assert ran.returncode == 0
    assert tracked(running_stack, message_id)[:2] == (8, None)


@pytest.mark.parametrize("door", ["stream", "celery"])
def test_example_says_when_a_message_is_not_known_to_be_tracked(tmp_path: Path, door: str) -> None:
    closed = {"ATTRIBUTION_REDIS_URL": "redis://127.0.0.1:1/0", "ATTRIBUTION_BROKER_URL": "redis://127.0.0.1:1/0"}
    ran = run(door, tmp_path, "--campaign=7", new_message_id(), **closed)
    assert ran.returncode == 1
    assert "Not known to be tracked" in ran.stderr


def test_http_example_repeats_what_the_receiver_says_is_wrong(running_stack: Any, tmp_path: Path) -> None:
    ran = run("http", tmp_path, "--campaign=0", new_message_id(), **environment(running_stack))
    assert ran.returncode == 1
    assert "answered 422" in ran.stderr
    assert "campaign_id" in ran.stderr


def answer(statuses: list[int]) -> HTTPServer:
    """Make a server on the loopback address that answers with these codes in turn; not yet serving."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return HTTPServer(("127.0.0.1", 0), Answering)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([202], None),
        ([503, 500, 202], None),
        ([503, 503, 503], "answered 503"),
        ([404, 202], "answered 404"),
        ([200, 200, 200], "answered 200"),
    ],
)
def test_http_example_repeats_what_was_not_confirmed(statuses: list[int], outcome: str | None) -> None:
    example = runpy.run_path(str(EXAMPLES["http"]), run_name="example")
    track, not_tracked = example["track"], example["NotTracked"]
    track.__globals__["WAITS"] = (0.01, 0.01)
    with answer(statuses) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            with pytest.raises(not_tracked, match=outcome) if outcome else nullcontext():
                track([{"internet_message_id": "<m@example.com>", "campaign_id": 7}], url=url, secret="s")
        finally:
            server.shutdown()
            serving.join()
    assert statuses == ([202] if outcome == "answered 404" else [])


def test_http_example_says_when_the_receiver_is_not_there() -> None:
    example = runpy.run_path(str(EXAMPLES["http"]), run_name="example")
    example["track"].__globals__["WAITS"] = ()
    with pytest.raises(example["NotTracked"], match="not reached"):
        example["track"]([], url="http://127.0.0.1:1", secret="s")


def test_message_of_another_language_is_the_one_in_the_documentation(running_stack: Any) -> None:
    """What docs/tracking.md prints is put on the queue as it stands, but for its ids."""
    page = (DOCS / "tracking.md").read_text()
    (printed,) = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if '"headers"' in block]
    message_id = new_message_id()
    message = json.loads(printed.replace("<c7.6f1d@mail.example.com>", message_id))
    with redis.Redis.from_url(running_stack.redis_url) as client:
        client.lpush("attribution.tracking", json.dumps(message))
    assert tracked(running_stack, message_id) == (7, 12, "celery")
