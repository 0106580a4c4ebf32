"""Who is meant: tells of bytes whether they are one person's or name him, and strikes his name out of others'. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from db.listmonk.links import NOBODY
from db.models import DeliveryEvent, EngagementEvent, TrackedMessage
from db.people import Person
from tasks.batch import Body, Pipeline
from tasks.privacy.cutting_out import cut_out, parts_of
from tasks.privacy.recipients import HASHED, find_addresses, is_message_id
from tasks.privacy.spellings import ENCODED, spelled_out, unescaped
from worker.message_id import MessageIdInvalid, normalise_message_id

#: What stands in a text where somebody was named.
STRUCK: Final = b"(erased)"

_MESSAGE_ID: Final = re.compile(r"<[^<>\s\"]{3,250}>")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_KEY: Final = b'"' + ENCODED + b'"'
_ESCAPES: Final = ("%&#%", "%&amp;%", r"%\%40%", r"%\%25%40%", r"%\%26%", r"%\%25%26%")
_PLAIN: Final = re.compile(r"[a-z0-9]+")
_WHENEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Witness:
    """Knows one person, as far as he was known when it was made.

    Args:
        person: whom to look for.
        pipelines: read bodies, by their kind, as they were read when they came.
    """

    def __init__(self, person: Person, pipelines: Mapping[str, Pipeline[Any]]) -> None:
        self._person = person
        self._pipelines = pipelines
        hashes = [each.encode() for each in person.recipients if "@" not in each]
        #: What stands for nobody else, wherever it stands, and what is written in its place.
        self._marks = {each: STRUCK for each in hashes} | {each.encode(): NOBODY.encode() for each in person.uuids}
        self._hashed = re.compile(b"|".join([HASHED.encode() + each + rb"@[a-z0-9.-]+" for each in hashes]) or rb"(?!)")

    def needles(self) -> list[str]:
        """Return patterns of LIKE, in lower case, of which one fits wherever he is named; the first look, not the last.

        Of an address they have what is hardly ever escaped; and by itself what escapes an @, or escapes that again.
        """
        needles = {f"%{mark.decode()}%" for mark in self._marks}
        for address in self._person.addresses:
            name, _, domain = address.rpartition("@")
            needles |= {f"%{_longest(name)}%{_longest(domain)}%", *_ESCAPES}
        return sorted(needles)

    def touches(self, kind: str, bodies: Sequence[bytes]) -> bool:
        """Tell whether anything in ``bodies`` is his or names him."""
        pipeline = self._pipelines[kind]
        rows = pipeline.parse([Body(body, None, _WHENEVER) for body in bodies])
        if kind == "message":
            return any(map(self._is_his, rows.messages)) or self._is_named(bodies, odd=bool(rows.malformed))
        parsed = rows.parsed
        odd = bool(parsed.malformed or parsed.ignored)
        return any(map(self._is_his, (*parsed.deliveries, *parsed.engagements))) or self._is_named(bodies, odd=odd)

    def take_out(self, kind: str, body: bytes) -> bytes | None:
        """Return a body without what is his, his name struck out of the rest; None if nothing is left."""
        return cut_out(kind, body, lambda part: None if self._is_of_him(kind, part) else self.strike(part))

    def parts(self, kind: str, body: bytes) -> list[bytes]:
        """Return those parts of a body that are his or name him."""
        return [part for part in parts_of(kind, body) if self.touches(kind, [part])]

    def strike(self, text: bytes) -> bytes:
        """Return ``text`` with his name struck out, in whatever spelling; itself, if he is not named.

        Where nothing tells how much of a text spells his name, all of it goes: of JSON the string that holds it, but
        never a Message-ID.
        """
        struck = self._strike_plainly(text)
        if not self._spells_him(struck):
            return struck
        plain = unescaped(struck)
        lowered = plain.lower()
        left: list[bytes] = []
        telling: list[bytes] = []  # all but what is to stay, whatever it spells
        done = 0
        for string in _STRING.finditer(plain):
            before, kept = plain[done : string.start()], string[0]
            done = string.end()
            if is_message_id(lowered, string.start() + 1):
                telling.append(before)
            else:
                if self._spells_him(_KEY + b":" + kept if left[-1:] == [_KEY] else kept):
                    kept = b'"' + STRUCK + b'"'
                telling += before, kept
            left += before, kept
        telling.append(plain[done:])
        if self._spells_him(b"".join(telling)):
            return STRUCK
        made = b"".join((*left, plain[done:]))
        return struck if made == plain else made

    def _spells_him(self, text: bytes) -> bool:
        """Tell whether he is named in what a text says when nothing in it is escaped or encoded any more."""
        said = spelled_out(text)
        if said is text:
            return False
        blank = said.replace(b"+", b" ") if any(" " in each for each in self._person.addresses) else said
        return self._strike_plainly(said) != said or self._strike_plainly(blank) != blank

    def _strike_plainly(self, text: bytes) -> bytes:
        plain, places = find_addresses(text, self._person.addresses)
        lowered = plain.lower()
        struck = [(start, end, STRUCK) for start, end in places]
        struck += [(*found.span(), STRUCK) for found in self._hashed.finditer(lowered)]
        for mark, instead in self._marks.items():
            at = lowered.find(mark)
            while at >= 0:
                struck.append((at, at + len(mark), instead))
                at = lowered.find(mark, at + 1)
        if not struck:
            return text
        pieces: list[bytes] = []
        done = 0
        for start, end, instead in sorted(struck):
            if start >= done:
                pieces += plain[done:start], instead
                done = end
        return b"".join((*pieces, plain[done:]))

    def _is_of_him(self, kind: str, part: bytes) -> bool:
        """Tell whether one event or tracking is his: by what it says, or, if it cannot be read, by whom it names."""
        rows = self._pipelines[kind].parse([Body(part, None, _WHENEVER)])
        read = rows.messages if kind == "message" else (*rows.parsed.deliveries, *rows.parsed.engagements)
        return any(map(self._is_his, read)) if read else self._is_named([part], odd=True)

    def _is_his(self, row: DeliveryEvent | EngagementEvent | TrackedMessage) -> bool:
        person = self._person
        if row.internet_message_id in person.internet:
            return True
        if row.azure_message_id is not None and UUID(bytes=row.azure_message_id) in person.azure:
            return True
        if isinstance(row, TrackedMessage):
            return row.subscriber_id in person.subscribers
        return row.recipient in person.recipients or row.header_subscriber in person.named

    def _is_named(self, bodies: Sequence[bytes], *, odd: bool) -> bool:
        """Tell whether bytes name him; of ``odd`` ones, which cannot be read, any id in them may be of his messages."""
        return any(self.strike(body) != body or (odd and self._holds_id(body)) for body in bodies)

    def _holds_id(self, body: bytes) -> bool:
        text = unescaped(spelled_out(body)).decode(errors="replace")
        if any(UUID(found) in self._person.azure for found in _UUID.findall(text)):
            return True
        return any(_normalised(found) in self._person.internet for found in _MESSAGE_ID.findall(text))


def _longest(text: str) -> str:
    """Return the longest piece of a text that neither JSON nor a URL writes otherwise."""
    return max(_PLAIN.findall(text), key=len, default="")


def _normalised(message_id: str) -> str | None:
    try:
        return normalise_message_id(message_id)
    except MessageIdInvalid:
        return None
