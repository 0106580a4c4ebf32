"""What in a batch this release does not know: names of keys, types and statuses, and shares of events. Pure.

Names, and never values. A name is kept only if it looks like one that programmers give, for whatever writes the keys of
an object may write an address there.

Nearly every event is of known keys, and reading it skips those that we do not keep, so nothing of it could be noticed.
Of such events a few in each batch are read once more; of those that are not spelt as expected, more.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from tasks.batch import Body
from tasks.eventgrid import Parsed
from tasks.wire import DELIVERY_REPORT, ENGAGEMENT_REPORT

#: The statuses and engagement types that are stored in a spelling of ours; others are stored as they come.
STATUSES: Final = frozenset(("Delivered", "Suppressed", "Bounced", "Quarantined", "FilteredSpam", "Expanded", "Failed"))
ENGAGEMENT_TYPES: Final = frozenset(("view", "click"))

#: Keys without their case and hyphens, which differ on the wire anyway: those that docs/wire-format.md tells of.
_ENVELOPE_KEYS: Final = {
    *("id", "topic", "subject", "data", "eventtype", "dataversion", "metadataversion", "eventtime"),
    *("source", "type", "time", "specversion", "datacontenttype", "dataschema"),
}
_DATA_KEYS: Final = {
    *("sender", "recipient", "messageid", "internetmessageid", "status", "deliverystatusdetails", "useragent"),
    *("deliveryattempttimestamp", "receivedtimestamp", "useractiontimestamp"),
    *("engagementtype", "engagement", "engagementcontext", "listmonkcampaign", "listmonksubscriber"),
    *("xlistmonkcampaign", "xlistmonksubscriber", "xlistmonkcampaignid", "xlistmonksubscriberid"),
}
_DETAILS_KEYS: Final = {"statusmessage", "recipientmailserverhostname"}

#: What a name looks like. Digits are rare in names and many in ids, so two are the most.
_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z_-]{0,39}[0-9]{0,2}")
_WORD: Final = re.compile(r"[A-Za-z]{1,40}")
_TYPE: Final = re.compile(r"[A-Za-z]{1,40}(?:\.[A-Za-z]{1,60}){0,5}")
#: Said in place of a name that does not look like one.
UNREADABLE: Final = "(no plain name)"

#: Of bodies that are spelt as expected, one in so many is read once more, and the last of each batch.
_ONE_IN: Final = 500
#: Of those that are not, at most so many in a batch.
_MOST_READ: Final = 32
#: An event is read once more if it ends within so many characters.
_LONGEST_EVENT: Final = 16_384
#: Most new names noticed in one batch, and about the most that are remembered of several.
MOST_NAMES: Final = 20
MOST_KEPT: Final = 400

_STATUS: Final = itemgetter(8)
_ENGAGEMENT_TYPE: Final = itemgetter(8)
_MESSAGE_ID: Final = itemgetter(2)

_decoder: Final = json.JSONDecoder()
_BLANK: Final = " \t\r\n"


class Name(NamedTuple):
    """A name that is not known, and what it is the name of: a kind of `attribution_names`."""

    kind: str
    name: str


class _Type(msgspec.Struct, rename="camel"):
    event_type: str | None = None
    type: str | None = None


_decode_type: Final = msgspec.json.Decoder(_Type).decode


@dataclass(slots=True)
class Seen:
    """What was noticed in batches; they add up with ``+=``.

    ``events`` are all that came, ``malformed`` those that went into quarantine, by reason. ``strange`` counts events by
    the unknown name that they bear as their type or status. ``names`` are all unknown names, those of keys as well.
    ``keys_without_id`` are the keys of one of the engagement events ``without_id``, those without an internetMessageId.
    """

    events: int = 0
    malformed: Counter[str] = field(default_factory=Counter)
    strange: Counter[Name] = field(default_factory=Counter)
    names: set[Name] = field(default_factory=set)
    engagements: int = 0
    without_id: int = 0
    keys_without_id: tuple[str, ...] = ()

    def __iadd__(self, other: Seen) -> Seen:
        self.events += other.events
        self.malformed += other.malformed
        self.strange += other.strange
        if len(self.names) < MOST_KEPT:
            self.names |= other.names
        self.engagements += other.engagements
        self.without_id += other.without_id
        self.keys_without_id = self.keys_without_id or other.keys_without_id
        return self

    def unknown(self, accepted: Collection[tuple[str, str]]) -> int:
        """Count the events whose type or status is not known, nor ``accepted`` by an operator."""
        return sum(count for name, count in self.strange.items() if name not in accepted)

    def share(self, accepted: Collection[tuple[str, str]]) -> float:
        """Return the share of events that could not be read, or are of an unknown type or status."""
        bad = self.malformed.total() + self.unknown(accepted)
        return bad / self.events if self.events else 0.0


def look(parsed: Parsed, bodies: Sequence[Body]) -> Seen:
    """Return what a batch shows that this release does not know. Never raises.

    Events and malformed parts are not counted here: what became of them is known when they are recorded.
    """
    seen = Seen(engagements=len(parsed.engagements))
    statuses = set(map(_STATUS, parsed.deliveries)) - STATUSES
    if statuses:
        seen.strange += _count("status", _WORD, (status for status in map(_STATUS, parsed.deliveries)), STATUSES)
    types = set(map(_ENGAGEMENT_TYPE, parsed.engagements)) - ENGAGEMENT_TYPES
    if types:
        kinds = map(_ENGAGEMENT_TYPE, parsed.engagements)
        seen.strange += _count("engagement_type", _WORD, kinds, ENGAGEMENT_TYPES)
    seen.without_id = [*map(_MESSAGE_ID, parsed.engagements)].count(None)
    if parsed.ignored:
        ignored = _types(parsed.unexpected)
        seen.names |= set(ignored)
        # Other services' events come where a subscription is not filtered; mail that is not followed is another matter.
        seen.strange += Counter({name: count for name, count in ignored.items() if "email" in name.name.casefold()})
    for event in _sample(parsed, bodies):
        seen.names |= set(_unknown_keys(event))
        if seen.without_id and not seen.keys_without_id:
            seen.keys_without_id = _keys_without_id(event["data"])
    seen.names |= set(seen.strange)
    seen.names = set(islice(sorted(seen.names), MOST_NAMES))
    return seen


def _count(kind: str, pattern: re.Pattern[str], values: Any, known: Collection[str]) -> Counter[Name]:
    return Counter(Name(kind, _plain(pattern, value)) for value in values if value not in known)


def _plain(pattern: re.Pattern[str], name: str) -> str:
    """Return a name if it is one, else what is said in its place."""
    return name if pattern.fullmatch(name) else UNREADABLE


def _types(parts: Sequence[bytes | msgspec.Raw]) -> Counter[Name]:
    """Count the types that we do not follow."""
    types: Counter[Name] = Counter()
    for part in parts:
        try:
            envelope = _decode_type(part)
        except (ValueError, RecursionError):
            continue
        found = envelope.event_type or envelope.type
        if found and found not in (DELIVERY_REPORT, ENGAGEMENT_REPORT):
            types[Name("event_type", _plain(_TYPE, found))] += 1
    return types


def _sample(parsed: Parsed, bodies: Sequence[Body]) -> Iterator[Mapping[str, Any]]:
    """Yield some of the batch's events of the types that we follow, as they stand."""
    chosen = [bytes(part) for part in parsed.unexpected[-_MOST_READ:]] + [body.body for body in bodies[::-_ONE_IN]]
    for body in chosen:
        event = _first_event(body)
        if isinstance(event, dict) and isinstance(event.get("data"), dict):
            found = event.get("eventType") or event.get("type")
            if found in (DELIVERY_REPORT, ENGAGEMENT_REPORT):
                yield event


def _first_event(body: bytes) -> Any:
    text = body[:_LONGEST_EVENT].decode(errors="replace").lstrip(_BLANK)
    if text[:1] == "[":
        text = text[1:].lstrip(_BLANK)
    try:
        return _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _unknown_keys(event: Mapping[str, Any]) -> Iterator[Name]:
    data: Mapping[str, Any] = event["data"]
    yield from _unknown("envelope_key", event, _ENVELOPE_KEYS)
    yield from _unknown("data_key", data, _DATA_KEYS)
    for key, details in data.items():
        if key.casefold() == "deliverystatusdetails" and isinstance(details, dict):
            yield from _unknown("details_key", details, _DETAILS_KEYS)


def _keys_without_id(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of an engagement event without an internetMessageId; none if it is no such event."""
    spelt = {key.replace("-", "").casefold(): key for key in data}
    if data.get(spelt.get("internetmessageid", "")) or not spelt.keys() & {"engagementtype", "engagement"}:
        return ()
    return tuple(sorted({_plain(_KEY, key) for key in data}))[:MOST_NAMES]


def _unknown(kind: str, keys: Mapping[str, Any], known: Collection[str]) -> Iterator[Name]:
    for key in keys:
        if key.replace("-", "").casefold() not in known:
            yield Name(kind, _plain(_KEY, key))
