"""The two streams: are they drained, and is everything on them that was put there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from redis.client import NEVER_DECODE
from redis.exceptions import ResponseError

from cli.doctor.findings import Finding, Missing, Subject, failure, hint, warning
from cli.doctor.installation import Installation
from worker.streams import CONSUMER, EVENTS, GROUP, MESSAGES

subject: Final = Subject("streams", "Streams")

#: Age of the oldest entry at which nobody drains, or not nearly fast enough.
OLD: Final = timedelta(minutes=10)
#: Idle time of an entry that was read, beyond which nobody claims it either.
_ABANDONED: Final = timedelta(minutes=5)
#: Most entries that are looked for: one is enough to tell.
_SAMPLE: Final = 1000
#: Looks at what may be between two steps of a drain.
_LOOKS: Final = 3
_BETWEEN_LOOKS_SECONDS: Final = 0.3
#: Share of the backlog limit above which it is soon reached.
_NEARLY: Final = 0.5


@subject.check("kind", "The streams are streams.")
def kind(installation: Installation) -> Iterator[Finding]:
    """Look for keys of ours that somebody else has written."""
    client = installation.redis()
    for stream in (EVENTS, MESSAGES):
        found = str(client.type(stream))
        if found not in ("stream", "none"):
            yield failure(
                f"{stream} is a {found}, not a stream: somebody else writes our keys, and every append fails.",
                f"Find out who it was (ACL LOG, MONITOR), then RENAME {stream} to something else.",
            )


@subject.check("group", "The streams are read by the drain, and by nobody else.")
def group(installation: Installation) -> Iterator[Finding]:
    """Look for the consumer group, and for readers that are not ours."""
    for stream, told in _streams(installation):
        ours = _group(told)
        if ours is None:
            waiting = int(told["length"])
            sentence = f"{stream} has no consumer group `{GROUP}`: no drain process has ever read it."
            if waiting:
                yield failure(
                    f"{sentence} {waiting:,} {'entries wait' if waiting != 1 else 'entry waits'} there.",
                    "Start a worker: it makes the group at the stream's beginning, so that all of it is drained.",
                )
            else:
                yield hint(sentence, "Start a worker.")
            continue
        strangers = sorted({str(each) for each in _names(ours.get("consumers"))} - {CONSUMER})
        if strangers:
            yield warning(
                f"Others than the drain read {stream} as part of its group: what they take is worked only when it is"
                " claimed from them.",
                f"XINFO CONSUMERS {stream} {GROUP} names them. Give them a group of their own, or end them; delete no"
                " consumer that has entries pending.",
            )


@subject.check("whole", "Nothing was taken off the streams but what was drained.")
def whole(installation: Installation) -> Iterator[Finding]:
    """Compare what was put on each stream with what was read of it and what is left.

    A drain acknowledges and deletes in two steps, and somebody may be between them: what is too much is looked at
    again, and what is still too much then stays.
    """
    gone: dict[str, int] = {}
    left: dict[str, int] = {}
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_LOOKS_SECONDS)
        counted = {stream: _too_many(told) for stream, told in _streams(installation)}
        for found, sign in ((gone, -1), (left, 1)):
            now = {stream: max(0, sign * count) for stream, count in counted.items()}
            found.update({stream: min(count, found.get(stream, count)) for stream, count in now.items()})
        if not any((*gone.values(), *left.values())):
            return
    for stream in gone:
        if count := gone[stream]:
            yield failure(
                f"{_entries(count)} of {stream} {'is' if count == 1 else 'are'} gone that nobody had drained: somebody"
                " trims the stream, or deletes from it. What was answered 200 is lost.",
                "Find who uses XTRIM, XADD … MAXLEN or XDEL on it. Event Grid's dead letters and mailers' own logs may"
                " have what is lost: `attribution import`.",
            )
        elif count := left[stream]:
            yield warning(
                f"{_entries(count)} of {stream} {'was' if count == 1 else 'were'} read and will not be handed out"
                " again: somebody has deleted the consumer, or a drain died between acknowledging and deleting, which"
                " leaves a few that are recorded already.",
                f"XGROUP SETID {stream} {GROUP} 0 hands all out again, and duplicates are noticed. The receiver will"
                " log once that the stream has lost its past.",
            )


def _too_many(told: Mapping[str, Any]) -> int:
    """Return how many entries there are beyond those that are pending or unread; less than none if some are gone."""
    ours = _group(told) or {}
    read, added = ours.get("entries-read"), told.get("entries-added")
    if not isinstance(read, int) or not isinstance(added, int):
        return 0  # Redis before 7 does not count, nor does one whose group was made anew
    return int(told["length"]) - (int(ours.get("pel-count", 0)) + added - read)


@subject.check("pending", "What was read is worked.")
def pending(installation: Installation) -> Iterator[Finding]:
    """Look for entries that were read long ago and are neither acknowledged nor claimed."""
    client = installation.redis()
    idle = _ABANDONED
    with suppress(Missing):
        idle = max(idle, 3 * installation.worker.claim_after)
    seconds, _ = client.time()
    for stream, told in _streams(installation):
        if _group(told) is None:
            continue
        found: Any = client.xpending_range(stream, GROUP, "-", "+", _SAMPLE, idle=int(idle.total_seconds() * 1000))
        handed_back = [each for each in found if _is_handed_back(each, seconds)]
        left = [each for each in found if each not in handed_back]
        if handed_back:
            yield failure(
                f"{_sampled(handed_back)} of {stream} {_was(handed_back)} handed back unworked: batches fail, and are"
                " tried again and again.",
                "Look at what workers log: `a batch was not finished` says why.",
            )
        if left:
            often = max(int(each["times_delivered"]) for each in left)
            yield failure(
                f"{_sampled(left)} of {stream} {_was(left)} read more than {_minutes(idle)} ago, up to {often}"
                f" time{'s' * (often != 1)}, and never acknowledged: no drain process runs, or batches fail.",
                "Look whether workers run, and at what they log: `a batch was not finished` says why.",
            )


def _is_handed_back(pending: Mapping[str, Any], now_seconds: int) -> bool:
    """Tell whether a drain has given an entry back: it then seems to have been read before it came, or never."""
    age_seconds = now_seconds - int(str(pending["message_id"]).partition("-")[0]) / 1000
    return not pending["times_delivered"] or bool(pending["time_since_delivered"] / 1000 > age_seconds + 1)


def _sampled(found: Sequence[object]) -> str:
    return f"{_SAMPLE:,} and more entries" if len(found) == _SAMPLE else _entries(len(found))


def _was(found: Sequence[object]) -> str:
    return "was" if len(found) == 1 else "were"


@subject.check("backlog", "The drain keeps up.")
def backlog(installation: Installation) -> Iterator[Finding]:
    """Look at how much waits on each stream, and for how long the first of it has."""
    client = installation.redis()
    limit = None
    with suppress(Missing):
        limit = installation.receiver.backlog_limit
    seconds, microseconds = client.time()
    for stream, told in _streams(installation):
        length = int(told["length"])
        if limit and length > _NEARLY * limit:
            yield failure(
                f"{length:,} entries wait on {stream}; at {limit:,} (ATTRIBUTION_BACKLOG_LIMIT) the receiver answers"
                " 503.",
                "Look whether workers run and what they log; else give them more drain processes.",
            )
        elif length and (age := seconds + microseconds / 1e6 - _first_at(told)) > OLD.total_seconds():
            yield failure(
                f"{_entries(length)} wait{'s' * (length == 1)} on {stream}, the first of them for"
                f" {_minutes(timedelta(seconds=age))}: nobody drains it, or not nearly fast enough.",
                "Look whether workers run, whether ATTRIBUTION_DRAIN_PROCESSES is at least 1, and what they log.",
            )


def _streams(installation: Installation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each stream that is there, with what XINFO tells, all of it of one instant."""
    client = installation.redis()
    for stream in (EVENTS, MESSAGES):
        try:
            # Not decoded: a body, of which there is one in it, may be any bytes.
            command = ["XINFO", "STREAM", stream, "FULL", "COUNT", 1]
            told: Any = client.execute_command(*command, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call]
        except ResponseError:
            continue  # none yet, or none at all, which is told of above
        yield stream, _pairs(told)


def _pairs(reply: Sequence[Any]) -> dict[str, Any]:
    return {_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=False)}


def _group(told: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((each for each in map(_pairs, told.get("groups") or ()) if _text(each.get("name")) == GROUP), None)


def _names(consumers: Sequence[Sequence[Any]] | None) -> Iterator[str]:
    for each in consumers or ():
        yield _text(_pairs(each).get("name"))


def _first_at(told: Mapping[str, Any]) -> float:
    """Return when Redis took the first entry, in seconds since 1970: its id begins with that."""
    (first_id, _fields), *_ = told["entries"]
    return int(_text(first_id).partition("-")[0]) / 1000


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _entries(count: int) -> str:
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"


def _minutes(duration: timedelta) -> str:
    minutes = duration / timedelta(minutes=1)
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
