"""Request bodies of Event Grid into the rows we store. Pure, and never raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b

import msgspec
from msgspec import Raw, Struct

from db.bounces import NO_BOUNCES, BounceRules
from db.listmonk.links import tracked_link, uncounted_because
from db.models import DeliveryEvent, EngagementEvent, Malformed
from tasks.reasons import Reason
from tasks.wire import (
    ENGAGEMENT_REPORT,
    Ignored,
    Refused,
    TooManyEvents,
    WireData,
    WireEvent,
    body_parts,
    read_body,
    read_part,
)
from worker.instants import is_believed
from worker.message_id import MessageIdInvalid, normalise_message_id

#: Longest event id kept, in characters. Event Grid's are 36.
LONGEST_EVENT_ID = 200

#: What is kept of a recipient's address, in characters: no domain is longer.
_LONGEST_DOMAIN = 253

#: The spelling of Azure's documentation for each status it documents; the wire has been seen with others.
_STATUSES = {
    status.casefold(): status
    for status in ("Delivered", "Suppressed", "Bounced", "Quarantined", "FilteredSpam", "Expanded", "Failed")
}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)", re.ASCII)


class _StatusDetails(Struct, rename="camel"):
    status_message: str | None = None


_decode_details: Callable[[Raw], str | _StatusDetails | None]
_decode_details = msgspec.json.Decoder(str | _StatusDetails | None).decode


def _nobody(_recipient: str | None) -> None:
    """Keep nothing of a recipient."""


@dataclass(slots=True)
class Parsed:
    """What one or more bodies held. ``ignored`` counts well-formed events of types that we do not follow.

    ``unexpected`` are the events, in their own bytes, of bodies that could not be read in one go: tasks/drift.py looks
    into some of them.
    """

    deliveries: list[DeliveryEvent] = field(default_factory=list)
    engagements: list[EngagementEvent] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    ignored: int = 0
    unexpected: list[Raw | bytes] = field(default_factory=list)


def parse_body(
    body: bytes,
    parsed: Parsed,
    *,
    entry_id: str | None,
    received_at: datetime,
    bounces: BounceRules = NO_BOUNCES,
    recipient: Callable[[str | None], str | None] = _nobody,
) -> None:
    """Add the events and the malformed parts of one request body to ``parsed``. Never raises.

    One bad event holds back neither the rest of its body nor the rest of the batch. A body with more elements than any
    of Event Grid's is kept whole, and not looked into. ``received_at`` is when Redis took the body; ``recipient`` says
    what is kept of an event's recipient.
    """
    try:
        parts = read_body(body)
    except TooManyEvents:
        parsed.malformed.append(malformed("event", Reason.TOO_MANY_EVENTS, None, body, entry_id, received_at))
        return
    if parts and not isinstance(parts[0], WireEvent):
        parsed.unexpected += [part for part in parts if not isinstance(part, WireEvent)]
    raw_parts: Sequence[Raw | bytes] = ()
    for position, part in enumerate(parts):
        try:
            event = part if isinstance(part, WireEvent) else read_part(part)
            if (event.event_type or event.type) == ENGAGEMENT_REPORT:
                parsed.engagements.append(_engagement(event, event.data, received_at, recipient))
            else:
                parsed.deliveries.append(_delivery(event, event.data, received_at, bounces, recipient))
        except Ignored:
            parsed.ignored += 1
        except Refused as refused:
            if isinstance(part, WireEvent):
                raw_parts = raw_parts or body_parts(body)  # once for a body: it is read anew from its beginning
                part = raw_parts[position]
            parsed.malformed.append(
                malformed("event", refused.reason, refused.detail, bytes(part), entry_id, received_at)
            )


def malformed(
    kind: str, reason: Reason, detail: str | None, body: bytes, entry_id: str | None, received_at: datetime
) -> Malformed:
    """Wrap bytes for the quarantine, under a key that the same bytes will have again."""
    return Malformed(content_key(kind, body), kind, reason.value, detail, body, entry_id, received_at)


def content_key(kind: str, body: bytes) -> bytes:
    """Return the 16 bytes by which the same malformed bytes are known again."""
    return blake2b(body, digest_size=16, person=kind.encode()).digest()


def event_key(source: str, event_id: str) -> bytes:
    """Return the 16 bytes that identify an event: a hash of its source, in any letter case, and its id.

    The wire spells one source in two cases, so the case is folded. Both parts are needed: an id is unique per source
    only.
    """
    digest = _source_digest(source).copy()
    digest.update(event_id.encode())
    return digest.digest()


@lru_cache(maxsize=256)
def _source_digest(source: str) -> blake2b:
    return blake2b(source.casefold().encode() + b"\0", digest_size=16)


def _engagement(
    event: WireEvent, data: WireData, received_at: datetime, recipient: Callable[[str | None], str | None]
) -> EngagementEvent:
    kind = _text(data.engagement_type, "engagementType") or _text(data.engagement, "engagementType")
    if not kind:
        raise Refused(Reason.FIELD_INVALID, "data.engagementType")
    kind = kind.casefold()
    context = _text(data.engagement_context, "engagementContext")
    link = tracked_link(context) if kind == "click" and context else None
    return EngagementEvent(
        *_shared(event, data, data.user_action_timestamp, received_at),
        kind,
        context,
        _text(data.user_agent, "userAgent"),
        uncounted_because(kind, context),
        recipient(data.recipient),
        link.campaign.bytes if link else None,
        link.subscriber.bytes if link else None,
    )


def _delivery(
    event: WireEvent,
    data: WireData,
    received_at: datetime,
    bounces: BounceRules,
    recipient: Callable[[str | None], str | None],
) -> DeliveryEvent:
    status = _text(data.status, "status")
    if not status:
        raise Refused(Reason.FIELD_INVALID, "data.status")
    reason, details = _status_details(data)
    return DeliveryEvent(
        *_shared(event, data, data.delivery_attempt_timestamp, received_at),
        _STATUSES.get(status.casefold(), status),
        _text(reason, "deliveryStatusDetails.statusMessage"),
        _text(details, "deliveryStatusDetails"),
        bounces.type_of(status, reason),
        _domain(data.recipient),
        recipient(data.recipient),
    )


def _domain(recipient: str | None) -> str | None:
    """Return the domain of an address, which is all that we keep of it; None if it is not one."""
    domain = (recipient or "").rpartition("@")[2].rstrip(">. ").lower()
    return domain if 0 < len(domain) <= _LONGEST_DOMAIN and "\0" not in domain else None


def _status_details(data: WireData) -> tuple[str | None, str | None]:
    """Return the status message, and all the details as they were sent: an object, or in old samples a string."""
    if not bytes(data.delivery_status_details):
        return None, None
    try:
        details = _decode_details(data.delivery_status_details)
    except (ValueError, RecursionError):
        raise Refused(Reason.FIELD_INVALID, "data.deliveryStatusDetails") from None
    if isinstance(details, _StatusDetails):
        return details.status_message, bytes(data.delivery_status_details).decode()
    return details, details


def _shared(
    event: WireEvent, data: WireData, timestamp: str | None, received_at: datetime
) -> tuple[bytes, str, str | None, bytes | None, datetime, datetime, str | None, str | None]:
    event_id = event.id
    if not (0 < len(event_id) <= LONGEST_EVENT_ID and event_id.isascii() and event_id.isprintable()):
        raise Refused(Reason.EVENT_ID_INVALID)
    source = event.topic or event.source
    if not source:
        raise Refused(Reason.SOURCE_INVALID)
    internet_message_id = data.internet_message_id or None
    if internet_message_id:
        try:
            internet_message_id = normalise_message_id(internet_message_id)
        except MessageIdInvalid as error:
            raise Refused(Reason.MESSAGE_ID_INVALID, str(error)) from None
    azure_message_id = _uuid(data.message_id)
    campaign = None if data.listmonk_campaign is None else _text(str(data.listmonk_campaign), "X-Listmonk-Campaign")
    subscriber = (
        None if data.listmonk_subscriber is None else _text(str(data.listmonk_subscriber), "X-Listmonk-Subscriber")
    )
    if internet_message_id is None and azure_message_id is None and not campaign:
        raise Refused(Reason.NO_MESSAGE_ID)
    if timestamp is None:  # when Event Grid got the event, seconds later
        timestamp = event.event_time or event.time
    return (
        event_key(source, event_id),
        event_id,
        internet_message_id,
        azure_message_id,
        _instant(timestamp),
        received_at,
        campaign or None,
        subscriber if campaign else None,
    )


def _uuid(text: str | None) -> bytes | None:
    """Return the bytes of a UUID. Other text is no id that a mailer could have been given, so it matches nothing."""
    if text is None or len(text) != 36:
        return None
    try:
        value = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return value if len(value) == 16 else None


def _instant(text: str | None) -> datetime:
    """Read an instant as Azure writes it: ISO 8601 with a zone, up to seven digits of fraction. Never a guess."""
    if text is None:
        raise Refused(Reason.TIMESTAMP_MISSING)
    if not _TIMESTAMP.fullmatch(text):
        raise Refused(Reason.TIMESTAMP_INVALID)
    try:
        instant = datetime.fromisoformat(text)
        in_range = is_believed(instant)
    except (ValueError, OverflowError):
        raise Refused(Reason.TIMESTAMP_INVALID) from None
    if not in_range:
        raise Refused(Reason.TIMESTAMP_OUT_OF_RANGE)
    return instant


def _text(value: str | None, key: str) -> str | None:
    """Return optional text. PostgreSQL cannot hold a NUL character."""
    if value is not None and "\0" in value:
        raise Refused(Reason.FIELD_INVALID, f"data.{key}")
    return value
