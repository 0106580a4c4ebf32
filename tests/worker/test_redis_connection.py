"""The connection that all requests share, on a real Redis, and on servers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import hiredis
import pytest
import redis
import uvloop
from redis.asyncio.connection import parse_url

from tests.conftest import MakeRedis
from worker.errors import StreamUnavailable
from worker.receiving import redis_connection
from worker.receiving.redis_connection import RedisConnection, open_connection

QUICK = timedelta(seconds=0.3)
AMPLE = timedelta(seconds=10)


@asynccontextmanager
async def connected(redis_url: str, timeout: timedelta = AMPLE) -> AsyncIterator[RedisConnection]:
    connection = await open_connection(parse_url(redis_url), timeout)
    try:
        yield connection
    finally:
        connection.close("the test is over")
        await connection.lost


@asynccontextmanager
async def impostor(
    behaviour: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve something that is not Redis, and give its address."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


def test_each_call_gets_its_own_answer(redis_url: str) -> None:
    async def scenario() -> list[Any]:
        async with connected(redis_url) as connection:
            await connection.call(b"SET", b"text", b"no number")
            calls = (
                connection.call(b"ECHO", b"one"),
                connection.call(b"INCR", b"text"),
                connection.call(b"INCR", b"number"),
                connection.call(b"GET", b"nothing"),
                connection.call(b"ECHO", bytes(range(256))),
            )
            return [await call for call in calls]

    one, refused, number, nothing, binary = uvloop.run(scenario())

    assert (one, number, nothing, binary) == (b"one", 1, None, bytes(range(256)))
    assert isinstance(refused, hiredis.ReplyError), "a refusal is its own call's only"


def test_cancelled_call_harms_no_other(redis_url: str) -> None:
    async def scenario() -> list[Any]:
        async with connected(redis_url) as connection:
            calls = [connection.call(b"ECHO", b"%d" % number) for number in range(100)]
            for call in calls[::3]:
                call.cancel()
            answers = [await call for call in calls if not call.cancelled()]
            return [*answers, await connection.call(b"ECHO", b"last")]

    expected = [b"%d" % number for number in range(100) if number % 3] + [b"last"]
    assert uvloop.run(scenario()) == expected


def test_calls_of_one_turn_leave_in_one_write() -> None:
    async def scenario() -> tuple[int, list[Any]]:
        reads = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                reads.append(data)
                writer.write(b":1\r\n" * data.count(b"PING"))

        async with impostor(answer) as url, connected(url) as connection:
            answers = await asyncio.gather(*[connection.call(b"PING") for _ in range(500)])
        return len(reads), answers

    reads, answers = uvloop.run(scenario())
    assert answers == [1] * 500
    assert reads == 1


def test_answers_in_pieces(redis_url: str) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for byte in b"$5\r\nhello\r\n:7\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def scenario() -> list[Any]:
        async with impostor(trickle) as url, connected(url) as connection:
            return [*await asyncio.gather(connection.call(b"A"), connection.call(b"B"))]

    assert uvloop.run(scenario()) == [b"hello", 7]


def test_silence_fails_every_call_and_ends_the_connection() -> None:
    async def scenario() -> None:
        async with impostor(say_nothing) as url, connected(url, QUICK) as connection:
            started = asyncio.get_running_loop().time()
            outcomes = await asyncio.gather(*[connection.call(b"PING") for _ in range(3)], return_exceptions=True)
            took_seconds = asyncio.get_running_loop().time() - started
            assert [str(outcome) for outcome in outcomes] == ["Redis did not answer in time"] * 3
            assert 0.29 < took_seconds < 2
            assert await connection.lost == "Redis did not answer in time"
            with pytest.raises(StreamUnavailable, match="did not answer in time"):
                connection.call(b"PING")

    uvloop.run(scenario())


def test_call_that_is_answered_in_time_does_not_end_the_connection_later(redis_url: str) -> None:
    async def scenario() -> None:
        async with connected(redis_url, QUICK) as connection:
            for _ in range(3):
                assert await connection.call(b"PING") == b"PONG"
                await asyncio.sleep(0.2)
            assert not connection.lost.done()

    uvloop.run(scenario())


@pytest.mark.parametrize(
    "nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n"], ids=["another protocol", "too many answers"]
)
def test_nonsense_ends_the_connection(nonsense: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(nonsense)
        await reader.read(65536)

    async def scenario() -> str:
        async with impostor(babble) as url, connected(url) as connection:
            await asyncio.gather(connection.call(b"PING"), return_exceptions=True)
            return await connection.lost

    assert uvloop.run(scenario()) == "Redis sent what nobody asked for"


def test_more_than_redis_can_swallow_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "_UNANSWERED_BYTES", 1000)

    async def scenario() -> None:
        async with impostor(say_nothing) as url, connected(url) as connection:
            connection.call(b"SET", b"key", b"x" * 2000).cancel()  # one alone may be larger
            with pytest.raises(StreamUnavailable, match="more slowly"):
                connection.call(b"PING")

    uvloop.run(scenario())


def test_room_is_given_back_with_the_answers(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setattr(redis_connection, "_UNANSWERED_BYTES", 1000)

    async def scenario() -> None:
        async with connected(redis_url) as connection:
            for _ in range(10):
                first, second = connection.call(b"ECHO", b"x" * 400), connection.call(b"ECHO", b"y" * 400)
                assert await first + await second == b"x" * 400 + b"y" * 400

    uvloop.run(scenario())


def test_url_names_user_and_database(private_redis: MakeRedis) -> None:
    server = private_redis()
    user = "+@all", "~*", ">pass/word"
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "receiver", "on", *user)
    address = server.url.rpartition("@")[2].removesuffix("/0")

    async def scenario(url: str) -> None:
        async with connected(url) as connection:
            await connection.call(b"SET", b"here", b"1")

    uvloop.run(scenario(f"redis://receiver:pass%2Fword@{address}/3"))

    with redis.Redis.from_url(f"{server.url.removesuffix('/0')}/3") as client:
        assert client.get("here") == b"1"
    with pytest.raises(StreamUnavailable, match="Redis refused AUTH: WRONGPASS") as refused:
        uvloop.run(scenario(f"redis://receiver:pass%2Fwort@{address}"))
    assert "wort" not in str(refused.value)
