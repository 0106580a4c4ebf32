"""Redis of the stack: what it was told it keeps, through stops and crashes, and nobody gets in without the password."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import redis

from stack.redis_server import RedisServer
from tests.conftest import MakeRedis
from tests.waiting import eventually


def _client(server: RedisServer, **options: float) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2, **options)


def test_it_acknowledges_nothing_it_could_lose(private_redis: MakeRedis) -> None:
    with _client(private_redis()) as client:
        settings = client.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["bind"] == "127.0.0.1"


def test_keywords_are_settings(private_redis: MakeRedis) -> None:
    with _client(private_redis(maxmemory="50mb")) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(50 * 1024 * 1024)}


def test_acknowledged_writes_survive_a_crash_on_the_same_port(private_redis: MakeRedis) -> None:
    server = private_redis()
    url = server.url
    with _client(server) as client:
        for number in range(100):
            client.xadd("stream", {"n": number})
    server.kill()
    assert server.pid is None
    with pytest.raises(redis.ConnectionError), _client(server) as client:
        client.ping()
    server.restart()
    assert server.url == url
    with _client(server) as client:
        assert client.xlen("stream") == 100


def test_paused_it_answers_nobody_and_resumed_it_goes_on(private_redis: MakeRedis) -> None:
    server = private_redis()
    server.pause()
    with pytest.raises(redis.TimeoutError), _client(server, socket_timeout=0.3) as client:
        client.ping()
    server.resume()
    with _client(server) as client:
        assert eventually(client.ping)


def test_a_paused_one_can_be_stopped(private_redis: MakeRedis) -> None:
    server = private_redis()
    server.pause()
    server.stop()
    assert server.pid is None


def test_its_password_is_needed_and_private(private_redis: MakeRedis) -> None:
    server = private_redis()
    password = server.url.split("@")[0].rpartition(":")[2]
    with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(server.url.replace(password, "x")) as client:
        client.ping()
    for name in ("redis.conf", "stack.json"):
        file = server.log.with_name(name)
        assert password in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    command_line = Path(f"/proc/{server.pid}/cmdline")
    if command_line.exists():
        assert password not in command_line.read_text()
