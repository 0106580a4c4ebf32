"""Callers that are slow, lie, or leave: what a well-behaved HTTP client cannot show."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis

from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.receiving import EVENT_SECRET, Caller, ServeReceiver, entries, read_answer, request_bytes
from worker.streams import EVENTS

GRID = f"/eventgrid?code={EVENT_SECRET}"
EVENT = b'[{"id": "8a1f"}]'


def head(headers: dict[str, str], path: str = GRID) -> bytes:
    """Return the head of a request whose body is sent by other means."""
    return request_bytes("POST", path, headers)


def chunked(path: str = GRID) -> bytes:
    return request_bytes("POST", path, {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def assert_closed(connection: socket.socket) -> None:
    with suppress(ConnectionResetError):  # closed all the same, with something of ours unread
        assert connection.recv(1) == b""


def test_body_that_never_comes(caller: Caller, redis_client: redis.Redis) -> None:
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": "16"}))
        started = time.monotonic()
        answer = read_answer(connection)

        assert time.monotonic() - started >= 0.29, "body_timeout is 0.3 s"
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert_closed(connection)
    assert entries(redis_client, EVENTS) == []


def test_body_that_comes_a_byte_at_a_time(caller: Caller) -> None:
    """The time is for the whole body: each byte in time gains nothing."""
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": "1000"}))
        connection.settimeout(0.02)
        for _ in range(100):
            try:
                assert connection.recv(12) == b"HTTP/1.1 408"
                return
            except TimeoutError:
                connection.sendall(b"x")
        pytest.fail("100 bytes, one every 20 ms, and no 408")


def test_body_in_pieces_is_stored_whole(caller: Caller, redis_client: redis.Redis) -> None:
    with caller.connect() as connection:
        connection.sendall(chunked())
        for letter in b"abcdef":
            connection.sendall(chunk(bytes([letter]) * 100_000))
        connection.sendall(b"0\r\n\r\n")
        assert read_answer(connection).status == 200

    assert entries(redis_client, EVENTS) == [{b"body": b"".join(bytes([letter]) * 100_000 for letter in b"abcdef")}]


def test_chunked_body_over_the_limit_is_refused_before_its_end(caller: Caller, redis_client: redis.Redis) -> None:
    with caller.connect() as connection:
        connection.sendall(chunked())
        for _ in range(3):  # the limit is two mebibytes, and the body has not ended
            connection.sendall(chunk(b"x" * 1024 * 1024))
        assert read_answer(connection).status == 413

    assert entries(redis_client, EVENTS) == []


def test_length_over_the_limit_is_refused_without_a_body(caller: Caller) -> None:
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": str(2 * 1024 * 1024 + 1)}))
        assert read_answer(connection).status == 413
        assert_closed(connection)


def test_body_longer_than_it_says(caller: Caller, redis_client: redis.Redis) -> None:
    """What comes after the length that was given is a second request, and no good one."""
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": str(len(EVENT))}) + EVENT + EVENT)
        assert read_answer(connection).status in (200, 400)

    assert entries(redis_client, EVENTS) in ([], [{b"body": EVENT}])


def test_body_shorter_than_it_says(caller: Caller, redis_client: redis.Redis) -> None:
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": str(len(EVENT) + 1)}) + EVENT)
        connection.shutdown(socket.SHUT_WR)
        assert_closed(connection)

    assert entries(redis_client, EVENTS) == []


def test_caller_that_leaves_before_its_body_is_complete(caller: Caller, redis_client: redis.Redis) -> None:
    gone = caller.metric("attribution_requests_total", route="eventgrid", status="gone")
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": "1000"}) + EVENT)

    def is_counted() -> None:
        assert caller.metric("attribution_requests_total", route="eventgrid", status="gone") == gone + 1

    eventually(is_counted)
    assert entries(redis_client, EVENTS) == []


def test_caller_that_leaves_while_redis_writes_takes_nobody_along(
    serve: ServeReceiver, private_redis: MakeRedis
) -> None:
    server = private_redis()
    caller = serve(server.url, redis_timeout=5)
    server.pause()
    with ThreadPoolExecutor() as threads:
        for _ in range(5):
            with caller.connect() as connection:
                connection.sendall(request_bytes("POST", GRID, body=b"of somebody who left"))
        staying = [threads.submit(caller.post_events, EVENT) for _ in range(5)]
        server.resume()
        assert [answer.result().status for answer in staying] == [200] * 5

    with redis.Redis.from_url(server.url) as client:
        assert entries(client, EVENTS).count({b"body": EVENT}) == 5


def test_stranger_is_not_invited_to_send_its_body(caller: Caller) -> None:
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": "1000", "Expect": "100-continue"}, path="/eventgrid"))
        assert read_answer(connection).status == 404


def test_caller_that_asks_first_is_invited(caller: Caller) -> None:
    with caller.connect() as connection:
        connection.sendall(head({"Content-Length": str(len(EVENT)), "Expect": "100-continue"}))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(EVENT)
        assert read_answer(connection).status == 200


def test_connection_is_kept_for_the_next_request(caller: Caller) -> None:
    with caller.connect() as connection:
        for path, status in ((GRID, 200), ("/eventgrid", 404), (GRID, 200)):
            connection.sendall(request_bytes("POST", path, body=EVENT))
            assert read_answer(connection).status == status


def test_requests_at_once_are_all_stored(caller: Caller, redis_client: redis.Redis) -> None:
    bodies = [b'[{"id": "%d"}]' % number for number in range(200)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(caller.post_events, bodies))

    assert {answer.status for answer in answers} == {200}
    assert sorted(entry[b"body"] for entry in entries(redis_client, EVENTS)) == sorted(bodies)
