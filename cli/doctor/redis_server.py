"""Redis as a server: is it one that can be used at all. Celery's, too, where that is another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

from cli.doctor.clock import judge_clock
from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from worker.streams import EVENTS, MESSAGES

subject: Final = Subject("redis", "Redis")

#: The drain asks what has been pending for how long (XPENDING … IDLE), which older ones cannot tell.
_OLDEST_VERSION: Final = (6, 2)
#: From here on Redis counts what was read of a stream, by which losses are noticed.
_COUNTING_VERSION: Final = (7, 0)
#: Share of its connections in use above which there soon are none.
_MANY_CLIENTS: Final = 0.8


@subject.check("reachable", "Redis answers.")
def reachable(installation: Installation) -> Iterator[Finding]:
    """Connect to Redis."""
    for server in installation.redis_servers:
        try:
            installation.redis(server)
        except Missing as missing:
            yield missing.finding


@subject.check("version", "Redis is new enough.")
def version(installation: Installation) -> Iterator[Finding]:
    """Compare the server's version with the oldest that the commands are known to."""
    for server, client in answering(installation):
        yield judge_version(server, str(info_of(server, client, "server").get("redis_version", "")))


def judge_version(server: str, text: str) -> Finding:
    """Judge a version of Redis. A Valkey says which one it answers like."""
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
    if len(numbers) < 2:
        return hint(f"{server} does not say which version it is.", "6.2 is the oldest that will do.")
    if numbers < _OLDEST_VERSION:
        return failure(f"{server} is version {text}, and 6.2 is the oldest that will do.", "Upgrade it.")
    if numbers < _COUNTING_VERSION:
        return hint(
            f"{server} is version {text}: it does not count what was read, so entries that are lost are not noticed.",
            "Upgrade it to 7 or newer.",
        )
    return ok(f"{server} is version {text}, or answers like it.")


@subject.check("single", "Redis is no cluster.")
def single(installation: Installation) -> Iterator[Finding]:
    """Look for cluster mode."""
    for server, client in answering(installation):
        if info_of(server, client, "cluster").get("cluster_enabled"):
            yield failure(
                f"{server} is in cluster mode, which Celery cannot use: its queues would be in several slots.",
                "Take a Redis without cluster mode, or a managed one's policy of a single shard.",
            )


@subject.check("primary", "Redis is a primary.")
def primary(installation: Installation) -> Iterator[Finding]:
    """Look for a replica, which takes no writes."""
    for server, client in answering(installation):
        if info_of(server, client, "replication").get("role") != "master":
            yield failure(
                f"{server} is a replica, which is read-only: each request is answered 503.",
                "Name the primary in the address, or promote this one: REPLICAOF NO ONE.",
            )


@subject.check("clients", "Redis has connections to spare.")
def clients(installation: Installation) -> Iterator[Finding]:
    """Compare its connections with the most that there may be."""
    for server, client in answering(installation):
        told = info_of(server, client, "clients")
        most = int(told.get("maxclients", 0))
        if most and told["connected_clients"] >= _MANY_CLIENTS * most:
            yield warning(
                f"{told['connected_clients']} of {most} connections of {server} are in use: soon there is none for a"
                " worker that starts.",
                "Raise maxclients, and the limit of open files with it; or end what idles (CLIENT LIST).",
            )


@subject.check("clock", "Redis's clock and this machine's agree.")
def clock(installation: Installation) -> Iterator[Finding]:
    """Compare the clocks: an entry's id is the time at which Redis took it."""
    for server, client in answering(installation):
        yield from judge_clock(server, lambda asked=client: _time(asked))  # type: ignore[misc]


@subject.check("database", "Our keys are in one database of Redis.")
def database(installation: Installation) -> Iterator[Finding]:
    """Look for our streams in other databases of the same server: whoever writes there writes to nobody."""
    client = installation.redis()
    ours = int(client.get_connection_kwargs().get("db") or 0)
    for name in info_of("Redis", client, "keyspace"):
        number = int(name.removeprefix("db")) if name.removeprefix("db").isdecimal() else ours
        if number != ours and (found := _streams_in(client, number)):
            yield failure(
                f"Database {number} of this Redis holds {' and '.join(found)}, too, and ours is {ours}: receiver,"
                " mailer and worker do not mean the same one, and what is there is drained by nobody.",
                "Write the same number at the end of every ATTRIBUTION_REDIS_URL, and of the mailers'. Then drain what"
                " is there with a worker that names it; duplicates are noticed.",
            )


def _streams_in(client: redis.Redis, number: int) -> list[str]:
    options = {**client.get_connection_kwargs(), "db": number}
    pool = redis.ConnectionPool(client.connection_pool.connection_class, **options)
    with redis.Redis(connection_pool=pool) as other:
        try:
            return [stream for stream in (EVENTS, MESSAGES) if other.exists(stream)]
        finally:
            pool.disconnect()


def answering(installation: Installation) -> Iterator[tuple[str, redis.Redis]]:
    """Yield those servers that answer.

    Raises:
        Missing: none does.
    """
    away: Missing | None = None
    found = []
    for server in installation.redis_servers:
        try:
            found.append((server, installation.redis(server)))
        except Missing as missing:
            away = missing
    if not found and away is not None:
        raise away
    yield from found


def info_of(server: str, client: redis.Redis, section: str) -> dict[str, Any]:
    """Return a section of what Redis tells of itself.

    Raises:
        Missing: it does not let itself be asked.
    """
    try:
        return client.info(section)
    except ResponseError:
        reason = f"{server} does not let itself be asked (INFO)"
        raise Missing(reason, hint(reason)) from None


def _time(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6
