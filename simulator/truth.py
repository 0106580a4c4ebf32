"""The ledger: what was really sent, tracked, emitted and acknowledged, and so what must have become of every event.

It is a list of records in the order in which things happened, one JSON object a line in a file. Everything else is
derived from it: re-reading the file gives the same expectations.

How an event must end follows from its message alone. It belongs to the message's campaign if the system can know one of
the ids the event carries: because the mailer tracked that id, or because a delivery report tied it to one that was
tracked. It waits (parked, later expired) otherwise. What was sent but never answered may or may not have arrived, and
so allows either. In listmonk's database a clicked link may name campaign and reader itself, and then nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

Door = Literal["http", "stream", "celery"]
#: The two names of a message: the mailer's ``Message-ID`` header, and the id that ACS answers to a send.
Id = Literal["internet", "azure"]
BOTH: tuple[Id, Id] = ("internet", "azure")
#: What engagement reports tell of. The last is one of the types that Azure may add any day.
ENGAGEMENTS: Final = frozenset({"view", "click", "forward"})


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    """A message left the mailer. Its Message-ID is what the ledger knows it by."""

    internet_message_id: str
    azure_message_id: str
    campaign_id: int
    subscriber_id: int | None
    recipients: tuple[str, ...]
    sent_at: datetime


class Tracked(msgspec.Struct, frozen=True, tag="tracked"):
    """The mailer told the system of a message: by which ids, through which door, and whether the door confirmed it."""

    message: str
    ids: tuple[Id, ...]
    door: Door
    confirmed: bool


class Emitted(msgspec.Struct, frozen=True, tag="emitted"):
    """ACS made an event. ``what`` is view, click or a delivery status, in lower case, or what is wrong with it.

    ``link`` is the URL that a click is to be counted under, the same for every reader; None if it is not to be counted.
    ``names_reader``: the clicked link names campaign and reader, to whoever has listmonk's tables. ``bounce`` is the
    type of bounce that a delivery report tells of.
    """

    event_id: str
    fate: Literal["followed", "malformed", "ignored"]
    what: str
    message: str | None = None
    ids: tuple[Id, ...] = ()
    at: datetime | None = None
    link: str | None = None
    names_reader: bool = False
    bounce: Literal["hard", "soft", "complaint"] | None = None

    @property
    def table(self) -> str | None:
        """The table of listmonk's in which it has a row once it is attributed, if it is to have one."""
        if self.what == "view":
            return "campaign_views"
        if self.what == "click" and self.link is not None:
            return "link_clicks"
        return "bounces" if self.bounce else None


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The receiver answered for events: they are the system's now, or were refused for good."""

    event_ids: tuple[str, ...]
    acknowledged: bool


class Listmonk(msgspec.Struct, frozen=True, tag="listmonk"):
    """The database is listmonk's, so results belong into its tables, too. Its settings are these."""

    individual_tracking: bool


class Native(msgspec.Struct, frozen=True, tag="native"):
    """listmonk's own pixel or redirect counted an act: in which row, and what that says.

    ``event_id`` is the event in which Azure reports the same act; None if Azure reports nothing.
    """

    row_id: int
    what: Literal["view", "click"]
    campaign_id: int
    subscriber_id: int | None
    link: str | None
    at: datetime
    event_id: str | None


Record = Sent | Tracked | Emitted | Answered | Listmonk | Native


class Fate(StrEnum):
    """What may become of an event."""

    ATTRIBUTED = "attributed"
    WAITING = "waiting"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must have become of one event. Before it is acknowledged it may also be nowhere."""

    event: Emitted
    fates: frozenset[Fate]
    acknowledged: bool
    message: Sent | None


_SURE = frozenset({Fate.ATTRIBUTED})
_WAITING = frozenset({Fate.WAITING})
_EITHER = _SURE | _WAITING
_QUARANTINED = frozenset({Fate.QUARANTINED})
_IGNORED = frozenset({Fate.IGNORED})


@dataclass
class Truth:
    """The ledger, with the few indexes that questions about it need."""

    records: list[Record] = field(default_factory=list)
    messages: dict[str, Sent] = field(default_factory=dict)
    events: dict[str, Emitted] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    listmonk: Listmonk | None = None
    native: list[Native] = field(default_factory=list)
    _known: dict[str, set[Id]] = field(default_factory=dict)
    _perhaps: dict[str, set[Id]] = field(default_factory=dict)

    def write_down(self, record: Record) -> None:
        """Add one record. The same message sent, or event emitted, again changes nothing but the list."""
        self.records.append(record)
        match record:
            case Sent():
                self.messages[record.internet_message_id] = record
            case Tracked():
                (self._known if record.confirmed else self._perhaps).setdefault(record.message, set()).update(
                    record.ids
                )
            case Emitted():
                self.events[record.event_id] = record
            case Answered(acknowledged=True):
                for event_id in record.event_ids:
                    self.acknowledged[event_id] = self.acknowledged.get(event_id, 0) + 1
            case Listmonk():
                self.listmonk = record
            case Native():
                self.native.append(record)
            case Answered():
                self.dropped.update(record.event_ids)

    def tracked_messages(self) -> set[str]:
        """Return the messages of which the system was told for certain, by Message-ID."""
        return set(self._known)

    def unconfirmed_messages(self) -> list[Sent]:
        """Return the messages of which the system was told, but by no door whose word is taken for it."""
        return [self.messages[message] for message in self._perhaps if message not in self._known]

    def expectations(self) -> Iterator[Expectation]:
        """Say of every event what must have become of it."""
        taught = self._taught(acknowledged_only=True)
        perhaps_taught = self._taught(acknowledged_only=False)
        for event in self.events.values():
            acknowledged = event.event_id in self.acknowledged
            if event.fate == "malformed":
                yield Expectation(event, _QUARANTINED, acknowledged, None)
            elif event.fate == "ignored":
                yield Expectation(event, _IGNORED, acknowledged, None)
            else:
                message = event.message or ""
                known = self._known.get(message, set())
                perhaps = known | self._perhaps.get(message, set())
                fates = _WAITING
                named = self.listmonk is not None and event.names_reader
                if named or _reachable(known, message in taught) & set(event.ids):
                    fates = _SURE
                elif _reachable(perhaps, message in perhaps_taught) & set(event.ids):
                    fates = _EITHER
                yield Expectation(event, fates, acknowledged, self.messages.get(message))

    def _taught(self, *, acknowledged_only: bool) -> set[str]:
        """Return the messages of which a delivery report named both ids: knowing one id is then knowing both."""
        return {
            event.message
            for event in self.events.values()
            if event.fate == "followed"
            and event.message is not None
            and event.what not in ENGAGEMENTS
            and set(event.ids) == set(BOTH)
            and (not acknowledged_only or event.event_id in self.acknowledged)
        }

    def save(self, path: Path) -> None:
        """Write the ledger as JSON lines."""
        encode = msgspec.json.Encoder().encode
        with path.open("wb") as file:
            file.writelines(encode(record) + b"\n" for record in self.records)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Re-read a ledger that `save` wrote."""
        decode = msgspec.json.Decoder(Record).decode
        with path.open("rb") as file:
            return cls.of(decode(line) for line in file)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Make a ledger of records in the order in which they happened."""
        truth = cls()
        for record in records:
            truth.write_down(record)
        return truth


def _reachable(known: set[Id], taught: bool) -> set[Id]:
    return set(BOTH) if known and taught else known
