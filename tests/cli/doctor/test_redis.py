"""Redis as it should not be: each fault is made on a real server, and found."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.doctor.redis_keeping import judge_disk
from cli.doctor.redis_server import judge_version
from stack.redis_server import RedisServer
from tests.cli.doctor.conftest import NOWHERE, Diagnose, random_secret
from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.test_redis_checks import forbid
from worker.streams import EVENTS

SECRET = {"event_secrets": random_secret()}


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"redis://:word-of-it@{NOWHERE}/0", "nothing listens on its port"),
        ("redis://:word-of-it@{host}/0", "it refuses the password"),
        ("redis://{host}/0", "it wants a password"),
        ("rediss://:word-of-it@{host}/0", "it does not answer"),
        ("redis://:word-of-it@no-such-host.invalid/0", "the name of its host cannot be resolved"),
        ("redis://:{password}@{host}/99", "it has no database of this number"),
        ("redis://:word/of-it@127.0.0.1:6379", "ATTRIBUTION_REDIS_URL cannot be read"),
    ],
    ids=["away", "password", "no-password", "tls", "host", "database", "address"],
)
def test_why_it_cannot_be_used_is_told_without_where_it_is(
    url: str, words: str, redis_url: str, diagnose: Diagnose
) -> None:
    user, _, address = redis_url.removeprefix("redis://").rpartition("@")
    host, password = address.partition("/")[0], user.removeprefix(":")
    diagnosis = diagnose(only="redis", redis_url=url.format(host=host, password=password), **SECRET)
    level, sentence, fix = diagnosis.one("redis-reachable")
    assert level == "failure"
    assert words in sentence
    assert fix
    assert diagnosis.one("redis-safe")[:2] == ("skipped", "Redis cannot be used")
    for hidden in (host, password, "of-it", "no-such-host"):
        assert hidden not in diagnosis.text


def test_a_sound_redis_is_in_order(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis(maxmemory="100mb")
    diagnosis = diagnose(only=("redis", "streams"), redis_url=server.url, **SECRET)
    assert diagnosis.bad() == []
    assert diagnosis.exit_code == 0


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("maxmemory_policy", "allkeys-lru", "it may evict the streams"),
        ("appendonly", "no", "in memory only"),
        ("appendfsync", "everysec", "before the disk has the data"),
        ("no_appendfsync_on_rewrite", "yes", "before the disk has the data"),
    ],
)
def test_a_setting_that_loses_data_is_found(
    setting: str, value: str, words: str, private_redis: MakeRedis, diagnose: Diagnose
) -> None:
    server = private_redis(**{setting: value})
    level, sentence, fix = diagnose(only="redis-safe", redis_url=server.url, **SECRET).one("redis-safe")
    assert level == "failure"
    assert f"{setting.replace('_', '-')} is '{value}'" in sentence
    assert words in sentence
    assert "CONFIG SET" in fix
    allowed = diagnose(only="redis-safe", redis_url=server.url, allow_unsafe_redis="true", **SECRET)
    assert allowed.one("redis-safe")[0] == "warning"


def test_celerys_own_redis_is_judged_as_the_streams_one(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    streams, celerys = private_redis(maxmemory="100mb"), private_redis(maxmemory="100mb", appendonly="no")
    addresses = {"redis_url": streams.url, "broker_url": celerys.url}
    database = {"database_url": f"postgresql://a@{NOWHERE}/a"}
    found = diagnose(only="redis-safe", **addresses, **database).one("redis-safe")
    assert found[1].startswith("Of Celery's Redis, appendonly is 'no'")
    celerys.stop()
    diagnosis = diagnose(only="redis", **addresses, **database)
    assert diagnosis.bad() == [
        ("redis-reachable", "failure", "Celery's Redis cannot be used: nothing listens on its port.")
    ], "the other is looked at all the same"


def test_a_redis_that_does_not_let_itself_be_asked_is_told_of(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    url = forbid(private_redis().url, "config", "info")
    diagnosis = diagnose(only="redis", redis_url=url, **SECRET)
    level, sentence, fix = diagnosis.one("redis-safe")
    assert (level, sentence) == ("hint", "Redis does not let us see how it is configured.")
    assert "appendfsync is always" in fix
    assert diagnosis.one("redis-memory")[:2] == ("skipped", "Redis does not let itself be asked (INFO)")


def test_a_redis_without_a_limit_or_without_room_is_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis()
    level, sentence, _ = diagnose(only="redis-memory", redis_url=server.url, **SECRET).one("redis-memory")
    assert (level, sentence.partition(":")[0]) == ("warning", "Redis has no maxmemory")
    with client_of(server) as client:
        for number in range(1000):
            client.set(f"else {number}", "x" * 8192)
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", int(used / 0.63))
        nearly = diagnose(only="redis-memory", redis_url=server.url, **SECRET).one("redis-memory")
        assert nearly[0] == "warning"
        assert "from 70 % on the receiver answers 503" in nearly[1]
        client.config_set("maxmemory", int(used / 0.8))
        level, sentence, _ = diagnose(only="redis-memory", redis_url=server.url, **SECRET).one("redis-memory")
        assert level == "failure"
        assert re.search(r"of its maxmemory of 1\d MiB, and 70 % is the limit", sentence)
        client.config_set("maxmemory", used // 2)
    diagnosis = diagnose(
        only=("redis-writable", "celery"), redis_url=server.url, database_url=f"postgresql://a@{NOWHERE}/a"
    )
    assert {diagnosis.one(check)[1] for check in ("celery-workers", "celery-queues", "celery-beat")} == {
        "Celery's Redis takes no question to workers"
    }
    assert diagnosis.one("redis-writable")[:2] == (
        "failure",
        "Redis takes no writes: it is full; let the drain empty it, or raise maxmemory.",
    )


def test_a_replica_is_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    primary, replica = private_redis(), private_redis()
    with client_of(replica) as client:
        kwargs = redis.Redis.from_url(primary.url).get_connection_kwargs()
        client.config_set("masterauth", kwargs["password"])
        client.replicaof(kwargs["host"], kwargs["port"])
        diagnosis = diagnose(only=("redis-primary", "redis-writable"), redis_url=replica.url, **SECRET)
    assert diagnosis.one("redis-primary")[:2] == (
        "failure",
        "Redis is a replica, which is read-only: each request is answered 503.",
    )
    assert diagnosis.one("redis-writable")[1] == "Redis takes no writes: it is a read-only replica."


def test_a_primary_without_its_replicas_is_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis(min_replicas_to_write="1")
    found = diagnose(only="redis-writable", redis_url=server.url, **SECRET).one("redis-writable")
    assert found[1] == "Redis takes no writes: min-replicas-to-write asks for more replicas than are there."


def test_a_cluster_is_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis(cluster_enabled="yes")
    diagnosis = diagnose(only=("redis-single", "redis-writable"), redis_url=server.url, **SECRET)
    assert diagnosis.one("redis-single")[0] == "failure"
    assert "cluster mode, which Celery cannot use" in diagnosis.one("redis-single")[1]
    assert diagnosis.one("redis-writable")[1] == "Redis takes no writes: its cluster has no slots."


def test_a_disk_that_fails_is_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis(appendonly="no", save='"3600 1"')
    with client_of(server) as client:
        client.set("a", "b")
        folder = client.config_get("dir")["dir"]
        shutil.rmtree(Path(folder))  # the disk is gone
        with pytest.raises(redis.ResponseError):
            client.save()
        client.bgsave()
        eventually(lambda: _assert_failed(client))
        diagnosis = diagnose(only=("redis-disk", "redis-writable"), redis_url=server.url, **SECRET)
        client.config_set("save", "")  # else it refuses to end
        Path(folder).mkdir()
    level, sentence, _ = diagnosis.one("redis-disk")
    assert level == "warning"
    assert "last snapshot failed" in sentence
    assert diagnosis.one("redis-writable")[1].startswith("Redis takes no writes: it could not save")


def _assert_failed(client: redis.Redis) -> None:
    assert client.info("persistence")["rdb_last_bgsave_status"] == "err"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"aof_last_write_status": "err"}, "could not write its append-only file"),
        ({"aof_last_bgrewrite_status": "err"}, "could not rewrite"),
        ({"loading": 1}, "is loading"),
    ],
)
def test_what_it_tells_of_its_disk_is_judged(told: dict[str, Any], words: str) -> None:
    (found,) = judge_disk("Redis", told)
    assert words in found.sentence


def test_connections_that_run_out_are_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis(maxclients="12")
    idle = [client_of(server) for _ in range(10)]
    for each in idle:
        each.ping()
    level, sentence, _ = diagnose(only="redis-clients", redis_url=server.url, **SECRET).one("redis-clients")
    assert level == "warning"
    assert "of 12 connections of Redis are in use" in sentence
    for each in idle:
        each.close()


def test_our_streams_in_another_database_are_found(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis()
    other = f"{server.url.rpartition('/')[0]}/3"
    with redis.Redis.from_url(other) as client:
        client.xadd(EVENTS, {"body": b"[]"})
    level, sentence, _ = diagnose(only="redis-database", redis_url=server.url, **SECRET).one("redis-database")
    assert level == "failure"
    assert sentence.startswith("Database 3 of this Redis holds attribution:events, too, and ours is 0")


def test_a_server_that_never_answers_does_not_keep_the_doctor(private_redis: MakeRedis, diagnose: Diagnose) -> None:
    server = private_redis()
    server.pause()
    try:
        began = time.monotonic()
        diagnosis = diagnose(only=("redis", "streams"), redis_url=server.url, **SECRET)
        assert time.monotonic() - began < 30
    finally:
        server.resume()
    assert diagnosis.one("redis-reachable")[:2] == ("failure", "Redis cannot be used: it does not answer.")


@pytest.mark.parametrize(
    ("version", "level"),
    [("5.0.14", "failure"), ("6.0.20", "failure"), ("6.2.0", "hint"), ("7.0.15", "ok"), ("", "hint")],
)
def test_a_version_that_is_too_old_is_found(version: str, level: str) -> None:
    assert judge_version("Redis", version).level == level
