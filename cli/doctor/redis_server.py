"""Redis as a server: does it keep what it acknowledges, and has it room. Celery's, too, where that is another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

from cli.doctor.clock import judge_clock
from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from worker.redis_checks import REQUIRED, faults_of, read_settings
from worker.streams import EVENTS, MESSAGES, PROBE

subject: Final = Subject("redis", "Redis")

#: XAUTOCLAIM, XPENDING … IDLE and COPY of ACLs are older, but what the drain asks begins here.
_OLDEST_VERSION: Final = (6, 2)
#: From here on Redis counts what was read of a stream, by which losses are noticed.
_COUNTING_VERSION: Final = (7, 0)
#: Share of its connections in use above which there soon are none.
_MANY_CLIENTS: Final = 0.8
#: Share of the receiver's limit above which it is soon reached.
_NEARLY: Final = 0.8


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
    for server, client in _clients(installation):
        yield judge_version(server, str(_info(server, client, "server").get("redis_version", "")))


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
    for server, client in _clients(installation):
        if _info(server, client, "cluster").get("cluster_enabled"):
            yield failure(
                f"{server} is in cluster mode, which Celery cannot use: its queues would be in several slots.",
                "Take a Redis without cluster mode, or a managed one's policy of a single shard.",
            )


@subject.check("primary", "Redis is a primary.")
def primary(installation: Installation) -> Iterator[Finding]:
    """Look for a replica, which takes no writes."""
    for server, client in _clients(installation):
        if _info(server, client, "replication").get("role") != "master":
            yield failure(
                f"{server} is a replica, which is read-only: each request is answered 503.",
                "Name the primary in the address, or promote this one: REPLICAOF NO ONE.",
            )


@subject.check("writable", "Redis takes writes.")
def writable(installation: Installation) -> Iterator[Finding]:
    """Write what the receiver writes every second, to learn what a full disk or a missing right says to it."""
    for server, client in _clients(installation):
        try:
            client.set(PROBE, 1, ex=60)
        except ResponseError as error:
            yield failure(
                f"{server} takes no writes: {_refusal(str(error))}.", "Each request is answered 503 till then."
            )


def _refusal(text: str) -> str:
    for code, meaning in {
        "MISCONF": "it could not save, or not write its append-only file; look at its log and its disk",
        "OOM": "it is full; let the drain empty it, or raise maxmemory",
        "command not allowed when used memory": "it is full; let the drain empty it, or raise maxmemory",
        "READONLY": "it is a read-only replica",
        "can't write against a read only": "it is a read-only replica",
        "NOREPLICAS": "min-replicas-to-write asks for more replicas than are there",
        "Not enough good replicas": "min-replicas-to-write asks for more replicas than are there",
        "CLUSTERDOWN": "its cluster has no slots",
        "Hash slot not served": "its cluster has no slots",
        "NOPERM": "its user may not write our keys (ACL SETUSER … ~attribution:* +@all)",
        "no permission": "its user may not write our keys (ACL SETUSER … ~attribution:* +@all)",
    }.items():
        if code.casefold() in text.casefold():
            return meaning
    return "look at its log"


@subject.check("safe", "Redis keeps what it acknowledges.")
def safe(installation: Installation) -> Iterator[Finding]:
    """Compare its settings with those that lose nothing, as each process does before it starts."""
    allowed = any(settings.allow_unsafe_redis for settings in installation.settings)
    for server, client in _clients(installation):
        settings = read_settings(client)
        for name, sentence in faults_of(settings).items():
            required = f"{name} {REQUIRED[name][0]}"
            fix = f"Write `{required}` into redis.conf, and send it `CONFIG SET {required}`."
            said = f"Of {server}, {sentence}"
            yield (
                warning(said, fix) if allowed else failure(said, f"{fix} Receivers and workers do not start till then.")
            )
        if unseen := [f"{name} is {required}" for name, (required, _) in REQUIRED.items() if name not in settings]:
            yield hint(
                f"{server} does not let us see how it is configured.",
                f"Make sure that {', '.join(unseen)}: in its provider's settings, or in what they promise.",
            )


@subject.check("disk", "Redis's last writes to its disk succeeded.")
def disk(installation: Installation) -> Iterator[Finding]:
    """Look at what became of its last writes, and whether the disk keeps up."""
    for server, client in _clients(installation):
        yield from judge_disk(server, _info(server, client, "persistence"))


def judge_disk(server: str, told: dict[str, Any]) -> Iterator[Finding]:
    """Judge what INFO tells of persistence."""
    if told.get("aof_last_write_status", "ok") != "ok":
        yield failure(
            f"{server} could not write its append-only file, and takes no writes.",
            "Look at its log: most often its disk is full or gone. Make room; it goes on by itself.",
        )
    if told.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield warning(
            f"{server} could not rewrite its append-only file, which grows until the disk is full.",
            "Look at its log. It needs memory to fork (vm.overcommit_memory = 1), and room on its disk for a second"
            " file.",
        )
    if told.get("rdb_last_bgsave_status", "ok") != "ok":
        yield warning(
            f"{server}'s last snapshot failed. With stop-writes-on-bgsave-error it takes no writes until one succeeds.",
            "Look at its log and its disk. With appendonly yes snapshots are not needed: CONFIG SET save ''.",
        )
    if told.get("loading"):
        yield warning(f"{server} is loading its data.", "Wait, and look again.")


@subject.check("memory", "Redis has room, and a limit.")
def memory(installation: Installation) -> Iterator[Finding]:
    """Compare what Redis uses with its maxmemory, and with the share of it at which the receiver refuses."""
    limit_percent = 70
    with suppress(Missing):
        limit_percent = installation.receiver.memory_limit_percent
    for server, client in _clients(installation):
        told = _info(server, client, "memory")
        most = int(told.get("maxmemory", 0))
        if not most:
            yield warning(
                f"{server} has no maxmemory: it grows until the machine's memory is gone, and is killed then; nor does"
                " the receiver know when to refuse.",
                "Set maxmemory to 60 % of the machine's memory, or of its container's limit.",
            )
            continue
        percent = 100 * (int(told["used_memory"]) - int(told.get("mem_not_counted_for_evict", 0))) / most
        if percent > limit_percent:
            yield failure(
                f"{server} uses {percent:.0f} % of its maxmemory, and {limit_percent} % is the limit"
                " (ATTRIBUTION_MEMORY_LIMIT_PERCENT): the receiver answers 503.",
                "Look whether workers drain, and what else is in it (redis-cli --bigkeys); or raise maxmemory.",
            )
        elif percent > _NEARLY * limit_percent:
            yield warning(
                f"{server} uses {percent:.0f} % of its maxmemory; from {limit_percent} % on the receiver answers 503.",
                "Look whether workers drain, and what else is in it (redis-cli --bigkeys); or raise maxmemory.",
            )


@subject.check("clients", "Redis has connections to spare.")
def clients(installation: Installation) -> Iterator[Finding]:
    """Compare its connections with the most that there may be."""
    for server, client in _clients(installation):
        told = _info(server, client, "clients")
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
    for server, client in _clients(installation):
        yield from judge_clock(server, lambda asked=client: _time(asked))  # type: ignore[misc]


@subject.check("database", "Our keys are in one database of Redis.")
def database(installation: Installation) -> Iterator[Finding]:
    """Look for our streams in other databases of the same server: whoever writes there writes to nobody."""
    client = installation.redis()
    ours = int(client.get_connection_kwargs().get("db") or 0)
    for name in _info("Redis", client, "keyspace"):
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


def _clients(installation: Installation) -> Iterator[tuple[str, redis.Redis]]:
    """Yield those servers that answer.

    Raises:
        Missing: none does.
    """
    away: Missing | None = None
    answering = []
    for server in installation.redis_servers:
        try:
            answering.append((server, installation.redis(server)))
        except Missing as missing:
            away = missing
    if not answering and away is not None:
        raise away
    yield from answering


def _info(server: str, client: redis.Redis, section: str) -> dict[str, Any]:
    try:
        return client.info(section)
    except ResponseError:
        reason = f"{server} does not let itself be asked (INFO)"
        raise Missing(reason, hint(reason)) from None


def _time(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6
