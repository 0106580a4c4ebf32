"""Callers that come slowly, without end, or with another protocol in mind, before they have proved anything."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from tests.waiting import eventually
from tests.worker.receiving import (
    EVENT_SECRET,
    MESSAGE_SECRET,
    Caller,
    entries,
    read_answer,
    receiver_settings,
    request_bytes,
    serving,
)
from worker.streams import EVENTS, MESSAGES

GRID = f"/eventgrid?code={EVENT_SECRET}"
EVENT = b'[{"id": "8a1f"}]'
#: What Java's client, and curl with --http2, send along with each request to an http:// URL.
UPGRADE = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.fixture(scope="module")
def caller(redis_url: str) -> Iterator[Caller]:
    """A receiver that waits for 0.3 s."""
    with serving(receiver_settings(redis_url)) as caller:
        yield caller


def ended(caller: Caller, reason: str) -> float:
    return caller.metric("attribution_connections_ended_total", reason=reason)


def receive_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):  # closed all the same, with something of ours unread
        while data := connection.recv(65536):
            received += data
    return received


def send_until_closed(connection: socket.socket, piece: bytes, pieces: int) -> int:
    """Send the same piece again and again; return how many were taken."""
    for sent in range(pieces):
        try:
            connection.sendall(piece)
        except OSError:
            return sent
    return pieces


@pytest.mark.parametrize("sent", [b"P", b"POST /eventgrid HTTP/1.1\r\nHost: a", b"GET /healthz HTTP/1.1\r\nA: b\r\n"])
def test_a_head_that_does_not_end_is_answered_408_in_time(sent: bytes, caller: Caller) -> None:
    before = ended(caller, "slow")
    with caller.connect() as connection:
        connection.sendall(sent)
        started = time.monotonic()
        assert receive_to_the_end(connection).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started >= 0.29, "body_timeout is 0.3 s"
    assert ended(caller, "slow") == before + 1


def test_a_head_that_comes_a_byte_at_a_time_gains_nothing_by_it(caller: Caller) -> None:
    with caller.connect() as connection:
        connection.settimeout(0.02)
        for byte in b"GET /healthz HTTP/1.1\r\nX-Slow-Loris: " + b"x" * 200:
            try:
                assert connection.recv(12) == b"HTTP/1.1 408"
                return
            except TimeoutError:
                connection.sendall(bytes([byte]))
        pytest.fail("200 bytes, one every 20 ms, and no 408")


def test_slow_heads_keep_nobody_else_waiting(caller: Caller) -> None:
    connections = [caller.connect() for _ in range(50)]
    for connection in connections:
        connection.sendall(b"POST /eventgrid HTTP/1.1\r\n")
    assert caller.post_events(EVENT).status == 200
    for connection in connections:
        assert receive_to_the_end(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()


def test_the_head_of_a_second_request_has_its_own_time(caller: Caller) -> None:
    with caller.connect() as connection:
        for _ in range(2):
            request = request_bytes("POST", GRID, body=EVENT)
            connection.sendall(request[:30])
            time.sleep(0.2)  # two thirds of the time that each head has
            connection.sendall(request[30:])
            assert read_answer(connection).status == 200
        connection.sendall(b"POST /ev")
        assert receive_to_the_end(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", request_bytes("GET", "/healthz")], ids=["nothing", "lines", "one"])
def test_a_connection_on_which_nothing_comes_any_more_is_closed(
    sent: bytes, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.receiver._KEEP_ALIVE_SECONDS", 0.2)
    with serving(receiver_settings(redis_url)) as caller, caller.connect() as connection:
        connection.sendall(sent)
        assert receive_to_the_end(connection).count(b"HTTP/1.1 200 OK") == sent.count(b"GET")


@pytest.mark.parametrize("begin", [b"GET /", b"GET /healthz HTTP/1.1\r\nA: ", b"GET /healthz HTTP/1.1\r\nA"])
def test_a_head_without_end_is_answered_431_before_it_fills_the_memory(begin: bytes, caller: Caller) -> None:
    before = ended(caller, "large")
    with caller.connect() as connection:
        connection.sendall(begin)
        taken = send_until_closed(connection, b"a" * 16_384, 10_000)
        assert taken < 1000, "16 MiB of sockets' buffers and more"
        assert receive_to_the_end(connection)[:13] in (b"HTTP/1.1 431 ", b"")
    eventually(lambda: assert_counted(caller, "large", before + 1))


def test_headers_without_end_are_answered_431(caller: Caller) -> None:
    before = ended(caller, "large")
    with caller.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert send_until_closed(connection, b"a: b\r\n" * 3000, 10_000) < 1000
    eventually(lambda: assert_counted(caller, "large", before + 1))


def test_trailers_without_end_are_cut_off(caller: Caller, redis_client: redis.Redis) -> None:
    before = ended(caller, "large")
    with caller.connect() as connection:
        head = request_bytes("POST", GRID, CHUNKED).replace(b"Content-Length: 0\r\n", b"")
        connection.sendall(head + b"4\r\n[{}]\r\n0\r\n")
        assert send_until_closed(connection, b"Trailer: " + b"x" * 65_000 + b"\r\n", 10_000) < 1000
    eventually(lambda: assert_counted(caller, "large", before + 1))
    assert entries(redis_client, EVENTS) == []


@pytest.mark.parametrize("path", ["/eventgrid", "/messages", "/healthz", "/nowhere"])
def test_a_body_that_goes_on_after_its_answer_is_cut_off(path: str, caller: Caller) -> None:
    with caller.connect() as connection:
        connection.sendall(request_bytes("POST", path, {"Content-Length": str(10**12)}))
        assert read_answer(connection).status in (404, 405)
        assert send_until_closed(connection, b"x" * 65_536, 10_000) < 1000


def test_a_body_that_drips_on_after_its_answer_is_cut_off(caller: Caller) -> None:
    with caller.connect() as connection:
        connection.sendall(request_bytes("POST", "/eventgrid", {"Content-Length": "100000"}))
        assert read_answer(connection).status == 404
        for _ in range(200):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.02)
        pytest.fail("4 s of a body that nobody wants")


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("pieces", ["at once", "in pieces"])
def test_a_protocol_that_is_offered_along_costs_no_body(
    framing: str, pieces: str, caller: Caller, redis_client: redis.Redis
) -> None:
    if framing == "length":
        first = request_bytes("POST", GRID, UPGRADE, EVENT)
    else:
        head = request_bytes("POST", GRID, UPGRADE | CHUNKED).replace(b"Content-Length: 0\r\n", b"")
        first = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
    sent = first + request_bytes("POST", GRID, body=b'[{"id": "the next"}]')
    with caller.connect() as connection:
        for start in range(0, len(sent), 7) if pieces == "in pieces" else [0]:
            connection.sendall(sent[start : start + 7] if pieces == "in pieces" else sent)
        assert [read_one(connection) for _ in range(2)] == [200, 200]
    assert entries(redis_client, EVENTS) == [{b"body": EVENT}, {b"body": b'[{"id": "the next"}]'}]


def test_a_mailer_that_offers_another_protocol_is_understood(caller: Caller, redis_client: redis.Redis) -> None:
    body = b'{"campaign_id": 7, "internet_message_id": "<c42@mail.example.com>"}'
    answer = caller.send("POST", "/messages", UPGRADE | {"Authorization": f"Bearer {MESSAGE_SECRET}"}, body)
    assert (answer.status, answer.body) == (202, b'{"accepted":1}')
    assert len(entries(redis_client, MESSAGES)) == 1


def test_what_needs_no_body_is_answered_whatever_protocol_is_offered(caller: Caller) -> None:
    for protocol in ("websocket", "h2c", "x"):
        assert caller.send("GET", "/healthz", {"Connection": "upgrade", "Upgrade": protocol}).status == 200


def test_a_bad_body_behind_an_offer_is_answered_400_and_nothing_is_stored(
    caller: Caller, redis_client: redis.Redis
) -> None:
    head = request_bytes("POST", GRID, UPGRADE | CHUNKED).replace(b"Content-Length: 0\r\n", b"")
    with caller.connect() as connection:
        connection.sendall(head + b"no length of a chunk\r\n")
        assert receive_to_the_end(connection).startswith(b"HTTP/1.1 400 ")
    assert entries(redis_client, EVENTS) == []


def read_one(connection: socket.socket) -> int:
    """Read one answer that has no body, byte by byte: the next may follow it at once."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += connection.recv(1)
    return int(received.split(b" ", 2)[1])


def assert_counted(caller: Caller, reason: str, count: float) -> None:
    assert ended(caller, reason) == count
