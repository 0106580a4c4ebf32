"""A request's id, from its headers to its answer and its entry."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.worker.receiving import EVENT_SECRET, MESSAGE_SECRET, Caller
from worker.receiving.request_id import request_id
from worker.streams import EVENTS, MESSAGES

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENTS_PATH = f"/eventgrid?code={EVENT_SECRET}"


def test_a_sane_id_of_the_callers_is_kept() -> None:
    assert request_id({b"x-request-id": b"7b0d5c32-6a1f_a.b"}) == b"7b0d5c32-6a1f_a.b"


@pytest.mark.parametrize(
    "given",
    [b"", b"abc", b"a" * 65, b"ada@example.com", b"with a space", b"a\nb\nc\nd", b"-dash", b"<script>", b"caf\xc3\xa9"],
    ids=repr,
)
def test_another_gets_one_of_ours(given: bytes) -> None:
    drawn = request_id({b"x-request-id": given})
    assert drawn != given
    assert len(drawn) == 16


def test_without_an_id_that_of_the_trace_is_taken() -> None:
    assert request_id({b"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode()}) == TRACE.encode()


@pytest.mark.parametrize(
    "parent",
    [b"", b"00-xyz", f"00-{'0' * 32}-00f067aa0ba902b7-01".encode(), f"ff-{TRACE}-00f067aa0ba902b7-01".encode()],
)
def test_a_trace_that_is_none_is_left_aside(parent: bytes) -> None:
    assert len(request_id({b"traceparent": parent})) == 16


def test_ids_differ() -> None:
    assert len({request_id({}) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(("path", "stream", "body"), [
    (EVENTS_PATH, EVENTS, b"[]"),
    ("/messages", MESSAGES, b'{"internet_message_id": "<a@mail.example.com>", "campaign_id": 7}'),
], ids=["event", "message"])  # fmt: skip
def test_the_answer_names_the_request_as_its_entry_does(
    caller: Caller, redis_client: redis.Redis, path: str, stream: str, body: bytes
) -> None:
    sent = {"Authorization": f"Bearer {MESSAGE_SECRET}"}
    drawn = caller.send("POST", path, sent, body).headers["x-request-id"]
    given = caller.send("POST", path, sent | {"X-Request-Id": "mailer-42"}, body).headers["x-request-id"]

    assert given == "mailer-42"
    found: Any = redis_client.xrange(stream)
    assert [fields[b"request"].decode() for _, fields in found] == [drawn, given]


def test_a_stranger_is_answered_as_where_there_is_nothing(caller: Caller) -> None:
    refused = caller.send("POST", "/eventgrid", {"X-Request-Id": "mailer-42"}, b"[]")
    nothing = caller.send("POST", "/nowhere", {"X-Request-Id": "mailer-42"}, b"[]")
    assert refused == nothing
