"""What a row of the hostile corpus is: what is sent through which door, the answer, and what is found afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.reasons import Reason
from tests.tasks.payloads import engagement

EVENT_SECRET: Final = "event-secret-of-the-hostile-corpus"
MESSAGE_SECRET: Final = "message-secret-of-the-hostile-corpus"
#: Tracked before anything else is sent: an event of this message ends attributed.
HEALTHY: Final = "<healthy@mail.example.com>"


@dataclass(frozen=True)
class Large:
    """Bytes by the million, made when they are needed: ``unit`` again and again, between ``head`` and ``tail``."""

    unit: bytes
    times: int
    head: bytes = b""
    tail: bytes = b""
    comma: bytes = b""

    def __bytes__(self) -> bytes:
        units = (self.unit + self.comma) * self.times
        return self.head + units[: len(units) - len(self.comma)] + self.tail


#: ``bytes()`` of it are what is meant.
Bytes = bytes | Large


@dataclass(frozen=True)
class Http:
    """One request with a length, to a route."""

    body: Bytes = b""
    path: str = "/eventgrid"
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"X-Attribution-Secret": EVENT_SECRET})


@dataclass(frozen=True)
class Raw:
    """Bytes on a connection of their own. With ``flood`` these follow, again and again, until it is closed."""

    sent: bytes
    flood: bytes = b""


@dataclass(frozen=True)
class Added:
    """An entry that somebody with a Redis client puts onto a stream."""

    fields: Mapping[bytes, Bytes]
    stream: str = "attribution:messages"


@dataclass(frozen=True)
class Task:
    """A Celery task that a mailer enqueues."""

    name: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Found:
    """What is in the database afterwards, and what the drain has counted without keeping it.

    Events by their ids, quarantined bytes with their reason, messages by their Message-IDs.
    """

    attributed: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    quarantined: Mapping[Bytes, Reason] = field(default_factory=dict)
    ignored: int = 0
    duplicates: int = 0
    contradictions: int = 0
    tracked: tuple[str, ...] = ()


NOTHING: Final = Found()


@dataclass(frozen=True, repr=False)
class Case:
    """One row. ``answers`` are the statuses, in their order; a door that does not answer, or hangs up, has none.

    ``name`` is short, never changes, and is what the documentation calls it by.
    """

    name: str
    sent: Http | Raw | Added | Task
    answers: tuple[int, ...]
    found: Found = NOTHING

    def __repr__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """What it is quarantined as, if it is: an event or a message."""
        if isinstance(self.sent, Http):
            return "message" if self.sent.path == "/messages" else "event"
        if isinstance(self.sent, Added):
            return "message" if self.sent.stream == "attribution:messages" else "event"
        return "event" if isinstance(self.sent, Raw) else "message"


def healthy(event_id: str) -> bytes:
    """Return an event that nothing is wrong with."""
    return json.dumps(engagement(event_id, internet_message_id=HEALTHY)).encode()


def among(name: str, *parts: bytes) -> bytes:
    """Return a body with healthy events before and after ``parts``: their neighbours."""
    return b"[" + b",".join([healthy(f"{name}/before"), *parts, healthy(f"{name}/after")]) + b"]"


def neighbours(name: str) -> tuple[str, str]:
    """Return the ids of the events that `among` puts around its parts."""
    return f"{name}/before", f"{name}/after"


def events(name: str, body: Bytes, found: Found = NOTHING) -> Case:
    """Return a case of a body that Event Grid, or somebody with its secret, posts: it is always answered 200."""
    return Case(name, Http(body), (200,), found)


def malformed_part(name: str, part: bytes, reason: Reason) -> Case:
    """Return a case of one bad event in the midst of healthy ones."""
    return events(name, among(name, part), Found(attributed=neighbours(name), quarantined={part: reason}))


def malformed_body(name: str, body: Bytes, reason: Reason = Reason.NOT_JSON) -> Case:
    """Return a case of a body that holds no event that could be saved."""
    return events(name, body, Found(quarantined={body: reason}))


def sound_part(name: str, part: bytes, *, event_id: str = "", parked: bool = False) -> Case:
    """Return a case of one event that is strange, and sound: it is attributed, or parked, under its id."""
    own = event_id or name
    kept = neighbours(name)
    found = Found(attributed=kept, parked=(own,)) if parked else Found(attributed=(*kept, own))
    return events(name, among(name, part), found)


def part(event: Mapping[str, Any]) -> bytes:
    """Return an event in bytes, whatever Python makes of its values (NaN included)."""
    return json.dumps(event).encode()
