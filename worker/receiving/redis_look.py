"""A look at Redis, which the receiver takes each second: how much waits there, since when, how full and well it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import hiredis

from worker.receiving.redis_link import RedisLink
from worker.streams import EVENTS, GROUP, MESSAGES, PROBE

_STREAMS = (EVENTS, MESSAGES)
#: These fail on a stream that nobody has written to yet.
_OF_GROUPS = [
    (*words, stream.encode(), *group)
    for words, group in (((b"XINFO", b"GROUPS"), ()), ((b"XPENDING",), (GROUP.encode(),)))
    for stream in _STREAMS
]
#: None of these may fail, least of all the trial write, which a full Redis refuses, and a replica, and one whose disk
#: is full.
_OF_REDIS = [
    *((b"XLEN", stream.encode()) for stream in _STREAMS),
    (b"TIME",),
    (b"INFO", b"memory"),
    (b"INFO", b"persistence"),
    (b"SET", PROBE.encode(), b"1", b"EX", b"60"),
]


@dataclass(frozen=True, slots=True)
class StreamLook:
    """A stream: its entries, the age of the oldest in seconds, and what ``XINFO GROUPS`` answered."""

    entries: int
    age: float
    groups: Any


@dataclass(frozen=True, slots=True)
class RedisLook:
    """What there was to see.

    ``refusal`` is why Redis takes no writes, if it takes none; ``memory_ratio`` the share of maxmemory in use, as Redis
    reckons it when it decides what to refuse, 0 without a limit. None is what it did not tell.
    """

    refusal: str | None
    streams: dict[str, StreamLook]
    memory_ratio: float | None
    keeps: bool | None
    persists: bool | None


async def look_at(link: RedisLink) -> RedisLook:
    """Ask Redis, in one write.

    Raises:
        StreamUnavailable: it is away.
    """
    answers = await asyncio.gather(*[link.call(*question) for question in (*_OF_GROUPS, *_OF_REDIS)])
    groups, pending, (*lengths, clock, memory, persistence, _) = answers[:2], answers[2:4], answers[4:]
    streams = {
        stream: StreamLook(entries, await _age(link, stream, entries, unfinished, clock), of_stream)
        for stream, entries, unfinished, of_stream in zip(_STREAMS, lengths, pending, groups, strict=True)
        if isinstance(entries, int)
    }
    used, health = _fields(memory), _fields(persistence)
    return RedisLook(
        refusal=next((str(each) for each in answers[4:] if isinstance(each, hiredis.ReplyError)), None),
        streams=streams,
        memory_ratio=_memory_ratio(used) if used else None,
        keeps=used[b"maxmemory_policy"] == b"noeviction" if b"maxmemory_policy" in used else None,
        persists=_persists(health) if health else None,
    )


async def _age(link: RedisLink, stream: str, entries: int, pending: Any, clock: Any) -> float:
    """Return the age of the oldest entry, by Redis's clock.

    What was read and not acknowledged is older than all the rest. Only where nothing was, and something waits, is the
    first entry asked for itself: it comes with its body, which may be large.
    """
    if not entries or not isinstance(clock, list):
        return 0.0
    first = pending[1] if isinstance(pending, list) and pending[0] else None
    if first is None:
        found = await link.call(b"XRANGE", stream.encode(), b"-", b"+", b"COUNT", b"1")
        if not isinstance(found, list) or not found:
            return 0.0
        first = found[0][0]
    return max(0.0, int(clock[0]) + int(clock[1]) / 1_000_000 - int(first.partition(b"-")[0]) / 1000)


def _fields(info: Any) -> dict[bytes, bytes]:
    if not isinstance(info, bytes):
        return {}
    return {name: value for name, colon, value in (line.partition(b":") for line in info.splitlines()) if colon}


def _memory_ratio(fields: dict[bytes, bytes]) -> float:
    limit = int(fields.get(b"maxmemory", 0))
    used = int(fields[b"used_memory"]) - int(fields.get(b"mem_not_counted_for_evict", 0))
    return used / limit if limit else 0.0


def _persists(fields: dict[bytes, bytes]) -> bool:
    """Tell whether the append-only file is written to, and was rewritten, without error; it is not judged if it is off.

    Whether it is on is asked as the receiver starts: see worker/redis_checks.py.
    """
    return all(fields.get(name, b"ok") == b"ok" for name in (b"aof_last_write_status", b"aof_last_bgrewrite_status"))
