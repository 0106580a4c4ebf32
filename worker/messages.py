"""Send-trackings as mailers write them: JSON in, `Tracking` out. Pure; shared by all three doors.

A call carries one object, an array of them, or one a line (NDJSON). docs/tracking.md describes the fields. A field that
we do not know is left aside, so that a mailer may be newer than we are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from worker.instants import is_believed
from worker.json_parts import MOST_PARTS, holds_more_parts, split_parts
from worker.message_id import MessageIdInvalid, normalise_message_id, would_be_replaced

#: Most trackings in one call by HTTP. The other doors, which nobody waits at, take any number.
MOST_TRACKINGS: Final = MOST_PARTS
#: What the items of a call have at least, on the average, in bytes, if they are trackings: the two keys alone take 40.
_SHORTEST: Final = 32

_LARGEST_ID = 2**31 - 1  # what the columns hold, and listmonk's serials
#: Longest name of a domain, in characters.
_LONGEST_DOMAIN = 253
_UUID = re.compile(r"(?:urn:uuid:)?\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.ASCII | re.IGNORECASE)
_LINE = re.compile(rb"[^\r\n]+")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)", re.ASCII)


class Tracking(Struct, frozen=True, omit_defaults=True):
    """One mail that was or is about to be sent, its ids normalised. At least one of the message ids is there."""

    campaign_id: int
    internet_message_id: str | None = None
    azure_message_id: UUID | None = None
    subscriber_id: int | None = None
    smtp_server_uuid: UUID | None = None
    sent_at: datetime | None = None
    recipient_domain: str | None = None


class Problem(Struct, frozen=True):
    """Why one item is no send-tracking, in a ``sentence`` that repeats nothing of its ``body``."""

    index: int
    field: str
    sentence: str
    body: bytes


class Warned(Struct, frozen=True):
    """Why one tracking, which is taken, will probably not do what the mailer expects of it."""

    index: int
    field: str
    sentence: str


class _Wire(Struct):
    """An item as it is sent. Loose where we want to say ourselves what is wrong."""

    campaign_id: int
    internet_message_id: str | None = None
    azure_message_id: str | None = None
    subscriber_id: int | None = None
    smtp_server_uuid: str | None = None
    sent_at: str | None = None
    recipient_domain: str | None = None


class _Invalid(Exception):
    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field)
        self.field = field
        self.sentence = sentence


_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_item = msgspec.json.Decoder(_Wire).decode


class TooManyTrackings(Exception):
    """A call holds more trackings than may be sent at once."""


def split_trackings(body: bytes) -> list[bytes]:
    """Return the items of one call, each in its own bytes: an array's elements, or the lines."""
    body = body.strip()
    if body[:1] == b"[":
        try:
            return [bytes(item) for item in _decode_items(body)]
        except (ValueError, RecursionError):  # an item that no parser accepts: the others are still to be read
            return split_parts(body)
    if not _is_json(body):  # nor is it one object, which may be written over several lines
        lines = [line for line in _LINE.findall(body) if line.strip()]
        if any(line.lstrip()[:1] == b"{" and _is_json(line) for line in lines):
            return lines
    return [body]


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=Raw)
    except (ValueError, RecursionError):
        return False
    return True


def parse_trackings(body: bytes, *, most: int | None = None) -> list[Tracking | Problem]:
    """Read the items of one call, in their order.

    A call of so many items that they cannot be trackings is one problem: each would cost more memory than bytes.

    Raises:
        TooManyTrackings: there are more than ``most``. Nothing else is raised, whatever the bytes are.
    """
    if are_no_trackings(body):
        return [Problem(0, "", "it holds more items than trackings fit into its bytes", body)]
    items = split_trackings(body)
    if most is not None and len(items) > most:
        raise TooManyTrackings
    return [_parse(index, item) for index, item in enumerate(items)]


def are_no_trackings(body: bytes) -> bool:
    """Tell of a call, before it is taken apart, whether it holds more items than trackings fit into its bytes."""
    return _holds_more_items(body, max(MOST_PARTS, len(body) // _SHORTEST))


def _holds_more_items(body: bytes, most: int) -> bool:
    """Tell whether there are more items than ``most``, without the memory that it takes to have them."""
    if body.lstrip()[:1] == b"[":
        return holds_more_parts(body, most)
    return body.count(b"\n") + body.count(b"\r") >= most and any(islice(_LINE.finditer(body), most, None))


def warn_of(trackings: Sequence[Tracking]) -> list[Warned]:
    """Return what a mailer should know of its trackings, by their position; usually nothing."""
    return [
        Warned(index, "internet_message_id", sentence)
        for index, tracking in enumerate(trackings)
        if tracking.internet_message_id and (sentence := would_be_replaced(tracking.internet_message_id))
    ]


def _parse(index: int, item: bytes) -> Tracking | Problem:
    try:
        wire = _decode_item(item)
        return Tracking(
            campaign_id=_id("campaign_id", wire.campaign_id),
            internet_message_id=_message_id(wire),
            azure_message_id=_uuid("azure_message_id", wire.azure_message_id),
            subscriber_id=None if wire.subscriber_id is None else _id("subscriber_id", wire.subscriber_id),
            smtp_server_uuid=_uuid("smtp_server_uuid", wire.smtp_server_uuid),
            sent_at=_instant(wire.sent_at),
            recipient_domain=_domain(wire.recipient_domain),
        )
    except _Invalid as invalid:
        return Problem(index, invalid.field, invalid.sentence, item)
    except msgspec.ValidationError as error:
        return Problem(index, *_explain(error), item)
    except (ValueError, RecursionError):
        return Problem(index, "", "it is not JSON", item)


def _explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """Turn msgspec's words into a field and a sentence; they name types and fields, never values."""
    words, _, path = str(error).partition(" - at `$.")
    if words.startswith("Object missing required field"):
        return "campaign_id", "it is required: the id of the campaign that the mail belongs to"
    return path.rstrip("`"), words[:1].lower() + words[1:].replace("`", "")


def _id(field: str, value: int) -> int:
    if not 0 < value <= _LARGEST_ID:
        raise _Invalid(field, f"it is not between 1 and {_LARGEST_ID}")
    return value


def _message_id(wire: _Wire) -> str | None:
    if wire.internet_message_id is None:
        if wire.azure_message_id is None:
            raise _Invalid(
                "internet_message_id", "it is required, unless azure_message_id is given: the mail's Message-ID header"
            )
        return None
    try:
        return normalise_message_id(wire.internet_message_id)
    except MessageIdInvalid as error:
        raise _Invalid("internet_message_id", str(error)) from None


def _uuid(field: str, text: str | None) -> UUID | None:
    if text is None:
        return None
    if not _UUID.fullmatch(text):  # Python's own reader takes more: underscores, and digits of any script
        raise _Invalid(field, "it is not a UUID")
    return UUID(text)


def _domain(text: str | None) -> str | None:
    if text is None:
        return None
    # Of an address we keep the domain and no more: to refuse it would cost the tracking, and keep the address.
    domain = text.rpartition("@")[2].strip().rstrip(".").lower()
    if not (0 < len(domain) <= _LONGEST_DOMAIN and domain.isprintable()) or " " in domain:
        raise _Invalid("recipient_domain", "it is not the name of a domain, such as example.net")
    return domain


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    if not _INSTANT.fullmatch(text):
        raise _Invalid("sent_at", "it is not an ISO 8601 instant with a time zone, such as 2026-01-10T10:26:32Z")
    try:
        instant = datetime.fromisoformat(text.upper())
        in_range = is_believed(instant)
    except (ValueError, OverflowError):
        raise _Invalid("sent_at", "there is no such instant") from None
    if not in_range:
        raise _Invalid("sent_at", "it is not between the years 2000 and 2100")
    return instant
