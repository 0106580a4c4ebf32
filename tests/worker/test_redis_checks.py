"""Which Redis is taken, and what is said of one that is not."""

from __future__ import annotations

import pytest
import redis

from tests.conftest import MakeRedis
from tests.waiting import eventually
from worker.errors import RedisUnsafe, SettingsInvalid
from worker.redis_checks import check_redis, require_safe_redis

SAFE = {
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
}


def test_safe_redis_is_taken(redis_url: str) -> None:
    require_safe_redis(redis_url)


@pytest.mark.parametrize(
    ("setting", "value", "harm"),
    [
        ("maxmemory-policy", "allkeys-lru", "may evict the streams"),
        ("maxmemory-policy", "volatile-ttl", "may evict the streams"),
        ("appendonly", "no", "in memory only"),
        ("appendfsync", "everysec", "before the disk has the data"),
        ("appendfsync", "no", "before the disk has the data"),
        ("no-appendfsync-on-rewrite", "yes", "before the disk has the data"),
    ],
)
def test_unsafe_redis_is_refused_with_what_cures_it(
    setting: str, value: str, harm: str, private_redis: MakeRedis
) -> None:
    server = private_redis(**{setting: value})

    with pytest.raises(RedisUnsafe) as refused:
        require_safe_redis(server.url)

    sentence = str(refused.value)
    assert f"{setting} is '{value}'" in sentence
    assert harm in sentence
    assert f"`{setting} {SAFE[setting]}`" in sentence
    assert f"`CONFIG SET {setting} {SAFE[setting]}`" in sentence
    assert "ATTRIBUTION_ALLOW_UNSAFE_REDIS=true" in sentence

    with redis.Redis.from_url(server.url) as client:  # the cure cures
        client.config_set(setting, SAFE[setting])
        require_safe_redis(server.url)
        eventually(lambda: assert_written(client))  # till then it refuses to end


def assert_written(client: redis.Redis) -> None:
    """It has written its first append-only file, if it was told to begin one."""
    persistence = client.info("persistence")
    assert not persistence["aof_rewrite_in_progress"]
    assert not persistence["aof_rewrite_scheduled"]


def test_every_fault_is_named() -> None:
    with pytest.raises(RedisUnsafe) as refused:
        check_redis({"maxmemory-policy": "allkeys-lfu", "appendonly": "no", "appendfsync": "no"})

    for setting in ("maxmemory-policy", "appendonly", "appendfsync"):
        assert f"CONFIG SET {setting} {SAFE[setting]}" in str(refused.value)


def forbid(server_url: str, *commands: str) -> str:
    """Make a user who may not use ``commands``, as managed services do, and return its address."""
    with redis.Redis.from_url(server_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "managed", "on", ">word", "~*", "+@all", *(f"-{command}" for command in commands)
        )
    return f"redis://managed:word@{server_url.rpartition('@')[2]}"


def test_redis_that_forbids_the_question_is_taken_at_its_word(
    private_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    require_safe_redis(forbid(private_redis(appendfsync="everysec").url, "config"))

    assert "make sure that appendonly is yes, appendfsync is always" in caplog.text
    assert "maxmemory-policy" not in caplog.text, "that much it told"


def test_eviction_is_seen_even_where_the_question_is_forbidden(private_redis: MakeRedis) -> None:
    server = private_redis(maxmemory_policy="allkeys-lru")

    with pytest.raises(RedisUnsafe, match="maxmemory-policy is 'allkeys-lru'"):
        require_safe_redis(forbid(server.url, "config"))


def test_redis_that_tells_nothing_at_all_is_taken_at_its_word(
    private_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    require_safe_redis(forbid(private_redis().url, "config", "info"))

    assert "make sure that maxmemory-policy is noeviction, appendonly is yes" in caplog.text


def test_redis_that_is_down_is_not_judged() -> None:
    with pytest.raises(redis.ConnectionError):
        require_safe_redis("redis://127.0.0.1:1")


def test_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as error:
        require_safe_redis("redis://:pass/word@127.0.0.1:6379")
    assert "word" not in str(error.value)
