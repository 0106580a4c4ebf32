"""The connection is kept up, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
import redis
import uvloop

from worker.errors import RedisUnsafe, SettingsInvalid, StreamUnavailable
from worker.receiving import redis_link
from worker.receiving.redis_link import RedisLink

QUICK = timedelta(seconds=0.3)
AMPLE = timedelta(seconds=10)


def test_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(SettingsInvalid, match="ATTRIBUTION_REDIS_URL cannot be read") as error:
        RedisLink("redis://:pass/word@127.0.0.1:6379", timeout=QUICK)
    assert "word" not in str(error.value)
    assert error.value.__suppress_context__


def test_link_survives_whatever_its_check_raises(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    faults: list[Exception] = [
        RedisUnsafe("it may lose data"),
        redis.ConnectionError("it is down"),
        redis.ConnectionError("it is down"),
        ZeroDivisionError("a bug"),
    ]
    attempts = []

    def check() -> None:
        attempts.append(1)
        if faults:
            raise faults.pop(0)

    async def scenario() -> bytes:
        async with RedisLink(redis_url, timeout=AMPLE, check=check) as link:
            with pytest.raises(StreamUnavailable, match="it may lose data"):
                link.call(b"PING")
            while faults:
                await asyncio.sleep(0.01)
            while True:
                try:
                    return bytes(await link.call(b"PING"))
                except StreamUnavailable:
                    await asyncio.sleep(0.01)

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(redis_link, "_UNSAFE_PAUSE_SECONDS", 0.01)
        patch.setattr(redis_link, "_PAUSE_SECONDS", 0.01)
        assert uvloop.run(scenario()) == b"PONG"
    assert len(attempts) == 5
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("ERROR", "Redis is away: it may lose data"),
        ("WARNING", "Redis is away: it is down"),  # once, however often it was tried
        ("ERROR", "Redis is away: a bug"),
    ]


def test_link_ends_in_silence(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with RedisLink(redis_url, timeout=AMPLE) as link:
            waiting = link.call(b"BLPOP", b"nothing", b"0")
        with pytest.raises(StreamUnavailable, match="stopped"):
            await waiting
        with pytest.raises(StreamUnavailable, match="stopped"):
            link.call(b"PING")

    with caplog.at_level(logging.WARNING):
        uvloop.run(scenario())
    assert caplog.text == ""


def test_host_that_cannot_be_reached_is_named_and_the_password_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with RedisLink("redis://:secret-word@127.0.0.1:1", timeout=QUICK) as link:
            with pytest.raises(StreamUnavailable, match="could not be reached"):
                link.call(b"PING")

    uvloop.run(scenario())
    assert "secret-word" not in caplog.text
