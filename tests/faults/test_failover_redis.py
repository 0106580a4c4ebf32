"""Redis's primary is cut off from its replica, or dies, and the replica takes over at the same address."""

from __future__ import annotations

import itertools
from urllib.parse import urlsplit

import pytest
import redis

from proof.proxy import Proxies
from stack.redis_server import RedisServer
from tests.conftest import MakeRedis
from tests.faults.network import lead_elsewhere, through
from tests.waiting import eventually
from tests.worker.receiving import Caller, ServeReceiver, entries
from worker.streams import EVENTS

#: Seconds for which a primary goes on without hearing of its replica: the least that Redis allows.
MAX_LAG = 1


class Pair:
    """A primary that wants a replica, its replica, and the address of whichever is the primary."""

    def __init__(self, private_redis: MakeRedis, proxies: Proxies) -> None:
        self.primary: RedisServer = private_redis(min_replicas_to_write="1", min_replicas_max_lag=str(MAX_LAG))
        password = urlsplit(self.primary.url).password
        self.link, through_link = through(proxies, self.primary.url)
        self.replica: RedisServer = private_redis(
            replicaof=f"127.0.0.1 {urlsplit(through_link).port}",
            masterauth=str(password),
            repl_diskless_sync_delay="0",
            repl_timeout="5",
        )
        self.address, self.url = through(proxies, self.primary.url)
        with redis.Redis.from_url(self.replica.url) as replica, redis.Redis.from_url(self.primary.url) as primary:
            # A failover keeps the password of whoever connects.
            replica.config_set("requirepass", str(password))
            self.password = str(password)
            eventually(lambda: assert_in_step(primary), within=20)

    def replica_client(self) -> redis.Redis:
        parts = urlsplit(self.replica.url)
        return redis.Redis(port=parts.port or 0, password=self.password)

    def fail_over(self) -> None:
        """Make the replica the primary, and lead its address there."""
        with self.replica_client() as replica:
            replica.replicaof("NO", "ONE")
        lead_elsewhere(self.address, self.replica.url)


def assert_in_step(primary: redis.Redis) -> None:
    info = primary.info("replication")
    assert info["connected_slaves"] == 1
    assert info["min_slaves_good_slaves"] == 1
    assert info["slave0"]["state"] == "online"


@pytest.fixture
def pair(private_redis: MakeRedis, proxies: Proxies) -> Pair:
    return Pair(private_redis, proxies)


def post_until_refused(caller: Caller, prefix: str, most: int) -> list[bytes]:
    """Post until the first 503, or ``most`` events; return what was answered 200."""
    answered = []
    for number in range(most):
        body = f'[{{"id": "{prefix}-{number}"}}]'.encode()
        if caller.post_events(body).status != 200:
            break
        answered.append(body)
    return answered


def bodies(client: redis.Redis) -> set[bytes]:
    return {fields[b"body"] for fields in entries(client, EVENTS)}


def assert_taken(caller: Caller) -> None:
    assert caller.post_events(b"[]").status == 200


def assert_has(client: redis.Redis, expected: set[bytes]) -> None:
    assert expected <= bodies(client)


def test_a_primary_cut_off_from_its_replica_refuses_within_the_lag_and_only_that_can_be_lost(
    serve: ServeReceiver, pair: Pair
) -> None:
    caller = serve(pair.url)
    eventually(lambda: assert_taken(caller))
    before = post_until_refused(caller, "before", 50)
    assert len(before) == 50
    with pair.replica_client() as replica:
        eventually(lambda: assert_has(replica, set(before)))

        with pair.link.silent():
            meanwhile = post_until_refused(caller, "meanwhile", 1_000_000)
            assert caller.post_events(b"[]").status == 503, "without a replica nothing is taken"
            eventually(lambda: assert_has_failures(caller))
            pair.primary.kill()
            pair.fail_over()

            # The receiver follows to the new primary, which wants no replica of its own yet.
            eventually(lambda: assert_taken(caller), within=20)
            kept = bodies(replica)
            assert set(before) <= kept
            lost = [body for body in meanwhile if body not in kept]
            assert lost == meanwhile[len(meanwhile) - len(lost) :], "only the last, of the lag and not of before"


def assert_has_failures(caller: Caller) -> None:
    assert caller.metric("attribution_append_failures_total", reason="read_only") >= 1
    assert caller.send("GET", "/readyz").status == 503


def test_a_primary_that_dies_is_followed_to_its_successor(serve: ServeReceiver, pair: Pair) -> None:
    caller = serve(pair.url)
    eventually(lambda: assert_taken(caller))
    answered = post_until_refused(caller, "before", 200)
    assert len(answered) == 200
    with pair.replica_client() as replica:
        eventually(lambda: assert_has(replica, set(answered)))
        pair.primary.kill()
        assert caller.post_events(b"[]").status == 503
        pair.fail_over()
        eventually(lambda: assert_taken(caller), within=20)
        assert set(answered) <= bodies(replica)
        numbers = itertools.count()
        eventually(lambda: assert_answers_again(caller, next(numbers)))


def assert_answers_again(caller: Caller, number: int) -> None:
    assert caller.post_events(b'[{"id": "after-%d"}]' % number).status == 200
    assert caller.send("GET", "/readyz").status == 200
