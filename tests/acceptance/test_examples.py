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


def test_what_the_documentation_shows_tracks_messages(running_stack: Any, tmp_path: Path) -> None:
    """Every example, for a message to one reader and for one to several; and what another language would put there."""
    sent: dict[str, tuple[int, int | None, set[str]]] = {}
    for door in EXAMPLES:
        for campaign, reader in ((7, 12), (8, None)):
            message_id = new_message_id()
            named = [] if reader is None else [f"--subscriber={reader}"]
            ran = run(door, tmp_path, f"--campaign={campaign}", *named, message_id, **environment(running_stack))
            assert (ran.returncode, ran.stderr) == (0, "")
            sent[message_id] = (campaign, reader, NAMES[door])
    message_id, message = message_of_another_language()
    with redis.Redis.from_url(running_stack.redis_url) as client:
        client.lpush("attribution.tracking", json.dumps(message))
    sent[message_id] = (7, 12, {"celery"})
    for message_id, (campaign, reader, names) in sent.items():
        campaign_id, subscriber_id, tracked_via = tracked(running_stack, message_id)
        assert (campaign_id, subscriber_id) == (campaign, reader)
        assert tracked_via in names


def message_of_another_language() -> tuple[str, Any]:
    """Return what docs/tracking.md prints as it stands, but for its ids."""
    page = (DOCS / "tracking.md").read_text()
    (printed,) = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if '"headers"' in block]
    message_id = new_message_id()
    return message_id, json.loads(printed.replace("<c7.6f1d@mail.example.com>", message_id))


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
