"""Whether Redis keeps what it acknowledges, and has room for more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ResponseError

from cli.doctor.findings import Finding, Missing, failure, hint, warning
from cli.doctor.installation import Installation
from cli.doctor.redis_server import answering, info_of
from cli.doctor.redis_server import subject as subject
from worker.redis_checks import REQUIRED, faults_of, read_settings
from worker.streams import PROBE

#: Share of the receiver's limit above which it is soon reached.
_NEARLY: Final = 0.8


@subject.check("writable", "Redis takes writes.")
def writable(installation: Installation) -> Iterator[Finding]:
    """Write what the receiver writes every second, to learn what a full disk or a missing right says to it."""
    for server, client in answering(installation):
        try:
            client.set(PROBE, 1, ex=60)
        except ResponseError as error:
            yield failure(
                f"{server} takes no writes: {_refusal(str(error))}.",
                "Cure that: each request is answered 503 till then.",
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
    for server, client in answering(installation):
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
    for server, client in answering(installation):
        yield from judge_disk(server, info_of(server, client, "persistence"))


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
    for server, client in answering(installation):
        told = info_of(server, client, "memory")
        most = int(told.get("maxmemory", 0))
        if not most:
            yield warning(
                f"{server} has no maxmemory: it grows until the machine's memory is gone, and is killed then; nor does"
                " the receiver know when to refuse.",
                "Set maxmemory to 60 % of the machine's memory, or of its container's limit.",
            )
            continue
        limit = f"its maxmemory of {most / 1024**2:,.0f} MiB"
        percent = 100 * (int(told["used_memory"]) - int(told.get("mem_not_counted_for_evict", 0))) / most
        if percent > limit_percent:
            yield failure(
                f"{server} uses {percent:.0f} % of {limit}, and {limit_percent} % is the limit"
                " (ATTRIBUTION_MEMORY_LIMIT_PERCENT): the receiver answers 503.",
                "Look whether workers drain, and what else is in it (redis-cli --bigkeys); or raise maxmemory.",
            )
        elif percent > _NEARLY * limit_percent:
            yield warning(
                f"{server} uses {percent:.0f} % of {limit}; from {limit_percent} % on the receiver answers 503.",
                "Look whether workers drain, and what else is in it (redis-cli --bigkeys); or raise maxmemory.",
            )
