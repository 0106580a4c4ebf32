"""What the receiver does when Redis is down, slow, full, read-only or too far behind: it answers 503."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.conftest import MakeRedis
from tests.waiting import eventually
from tests.worker.receiving import EVENT_SECRET, Answer, Caller, ServeReceiver, entries
from worker.streams import EVENTS, GROUP, MESSAGES

EVENT = b'[{"id": "8a1f"}]'
TRACKING = json.dumps({"internet_message_id": "<a@mail.example.com>", "campaign_id": 7}).encode()


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.headers["retry-after"] == "30"
    assert answer.body == b'{"error":"not now; send it again"}'


def assert_stored(caller: Caller) -> None:
    assert caller.post_events(EVENT).status == 200


def readiness(caller: Caller) -> int:
    return caller.send("GET", "/readyz").status


def test_redis_down_and_back(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)
    assert caller.post_events(EVENT).status == 200

    server.kill()
    assert_unavailable(caller.post_events(EVENT))
    assert_unavailable(caller.post_messages(TRACKING))
    eventually(lambda: assert_equal(readiness(caller), 503))
    assert caller.send("GET", "/healthz").status == 200

    server.restart()
    eventually(lambda: assert_stored(caller), within=5)
    eventually(lambda: assert_equal(readiness(caller), 200), within=5)
    with redis.Redis.from_url(server.url) as client:
        assert entries(client, EVENTS) == [{b"body": EVENT}] * 2, "what was answered 200 is there, and only that"


def assert_equal(found: object, expected: object) -> None:
    assert found == expected


def test_redis_down_when_the_receiver_starts(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    server.stop()
    caller = serve(server.url)

    assert_unavailable(caller.post_events(EVENT))
    assert readiness(caller) == 503

    server.restart()
    eventually(lambda: assert_stored(caller), within=5)


def test_redis_that_does_not_answer(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)
    server.pause()
    try:
        started = time.monotonic()
        assert_unavailable(caller.post_events(EVENT))
        assert time.monotonic() - started < 3, "redis_timeout is half a second"
        eventually(lambda: assert_equal(readiness(caller), 503))
    finally:
        server.resume()
    eventually(lambda: assert_stored(caller), within=10)


def test_time_for_the_body_ends_with_the_body(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    """A slow Redis has its own time; the caller's, which is over by then, must not cut it short."""
    server = private_redis()
    caller = serve(server.url, body_timeout=0.2, redis_timeout=5)
    server.pause()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(caller.post_events, EVENT)
        with pytest.raises(TimeoutError):
            waiting.result(0.6)
        server.resume()
        assert waiting.result().status == 200


def test_handshake_needs_no_redis(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)
    server.kill()

    answer = caller.post_events(b'[{"data": {"validationCode": "512d"}}]', {"aeg-event-type": "SubscriptionValidation"})

    assert (answer.status, answer.body) == (200, b'{"validationResponse":"512d"}')


def test_redis_full(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis(maxmemory="8mb")
    caller = serve(server.url, memory_limit_percent=100)
    assert caller.post_events(EVENT).status == 200

    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1mb")
        assert_unavailable(caller.post_events(EVENT))
        eventually(lambda: assert_equal(readiness(caller), 503))
        assert caller.metric("attribution_append_failures_total", reason="full") >= 1
        assert len(entries(client, EVENTS)) == 1

        client.config_set("maxmemory", "8mb")
        eventually(lambda: assert_stored(caller))
        eventually(lambda: assert_equal(readiness(caller), 200))


def test_memory_over_the_limit(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis(maxmemory="100mb")
    caller = serve(server.url, memory_limit_percent=70)
    assert caller.post_events(EVENT).status == 200

    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.8))
        eventually(lambda: assert_unavailable(caller.post_events(EVENT)))
        eventually(lambda: assert_unavailable(caller.post_messages(TRACKING)))
        assert caller.metric("attribution_requests_shed_total", reason="memory") >= 2
        assert caller.metric("attribution_redis_memory_ratio") > 0.7
        assert readiness(caller) == 200, "Redis takes writes; it is only spared"

        client.config_set("maxmemory", "100mb")
        eventually(lambda: assert_stored(caller))


@pytest.mark.parametrize("stream", [EVENTS, MESSAGES])
def test_backlog_over_the_limit(stream: str, serve: ServeReceiver, redis_url: str, redis_client: redis.Redis) -> None:
    for _ in range(10):
        redis_client.xadd(stream, {"body": b"[]"})
    caller = serve(redis_url, backlog_limit=10)
    full, spared = (
        (caller.post_events, caller.post_messages) if stream == EVENTS else (caller.post_messages, caller.post_events)
    )

    assert_not_refused(full(TRACKING))  # now they are eleven
    eventually(lambda: assert_unavailable(full(TRACKING)))
    assert spared(TRACKING).status in (200, 202), "the other stream has room"
    assert caller.metric("attribution_backlog_entries", stream=stream) >= 10

    drain(redis_client, stream)
    eventually(lambda: assert_not_refused(full(TRACKING)))


def drain(client: redis.Redis, stream: str) -> None:
    """Take every entry off, as the drain does: acknowledged entries are deleted and count for nothing."""
    client.xgroup_create(stream, GROUP, "0")
    found: Any = client.xrange(stream)
    entry_ids = [entry_id for entry_id, _ in found]
    client.xack(stream, GROUP, *entry_ids)
    client.xdel(stream, *entry_ids)


def assert_not_refused(answer: Answer) -> None:
    assert answer.status in (200, 202)


def test_replica(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    """A failover leaves the receiver connected to what is now a replica; it must go and look for the new primary."""
    server = private_redis()
    caller = serve(server.url)
    assert caller.post_events(EVENT).status == 200

    with redis.Redis.from_url(server.url) as client:
        before = others(client)
        client.replicaof("127.0.0.1", "1")
        assert_unavailable(caller.post_events(EVENT))
        eventually(lambda: assert_equal(readiness(caller), 503))
        assert caller.metric("attribution_append_failures_total", reason="read_only") >= 1

        client.replicaof("NO", "ONE")
        eventually(lambda: assert_stored(caller))
        assert len(before) == len(others(client)) == 1
        assert before != others(client), "the old primary may be somewhere else by now"


def others(client: redis.Redis) -> set[str]:
    """Return the ids of the connections to Redis that are not ours."""
    return {found["id"] for found in client.client_list()} - {str(client.client_id())}


def test_too_few_replicas(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)

    with redis.Redis.from_url(server.url) as client:
        client.config_set("min-replicas-to-write", 1)
        assert_unavailable(caller.post_events(EVENT))
        eventually(lambda: assert_equal(readiness(caller), 503))

        client.config_set("min-replicas-to-write", 0)
        eventually(lambda: assert_stored(caller))


def test_redis_that_turns_out_to_be_unsafe_when_it_is_back(
    serve: ServeReceiver, private_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis()
    server.stop()
    caller = serve(server.url)
    server.restart()
    eventually(lambda: assert_equal(readiness(caller), 200), within=5)

    with redis.Redis.from_url(server.url) as client, caplog.at_level("ERROR"):
        client.config_set("appendfsync", "everysec")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: assert_equal("appendfsync is 'everysec'" in caplog.text, True))
        assert_unavailable(caller.post_events(EVENT))
        eventually(lambda: assert_equal(readiness(caller), 503))
        assert len(entries(client, EVENTS)) == 0


def test_redis_that_was_emptied(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)
    with redis.Redis.from_url(server.url) as client:
        client.set(EVENTS, "not a stream")
        assert_unavailable(caller.post_events(EVENT))
        client.flushall()
        assert_stored(caller)
        assert entries(client, EVENTS) == [{b"body": EVENT}]


def test_stranger_learns_nothing_of_redis(serve: ServeReceiver, private_redis: MakeRedis) -> None:
    server = private_redis()
    caller = serve(server.url)
    server.kill()

    assert caller.send("POST", f"/eventgrid?code={EVENT_SECRET}x", body=EVENT).status == 404


def test_redis_that_does_not_say_how_it_is_has_no_number_and_raises_no_alert(
    serve: ServeReceiver, private_redis: MakeRedis
) -> None:
    server = private_redis()
    caller = serve(server.url)
    eventually(lambda: assert_told(caller, b"\nattribution_redis_persists 1.0\n", b"\nattribution_redis_keeps 1.0\n"))
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("default", enabled=True, commands=["-info"])
    eventually(lambda: assert_told(caller, b"\nattribution_redis_persists NaN\n", b"\nattribution_redis_keeps NaN\n"))
    assert_stored(caller)


def assert_told(caller: Caller, *lines: bytes) -> None:
    told = caller.send("GET", "/metrics").body
    assert [line for line in lines if line not in told] == []
