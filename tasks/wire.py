"""Event Grid's JSON as it stands on the wire: a part of a request body in, a `WireEvent` out. Pure.

docs/wire-format.md tells what was seen there. In short: two envelopes (Event Grid's own and CloudEvents) around the
same
``data``; keys of ``data`` whose case differs between Microsoft's documentation, its SDKs and the wire.

Nearly every event is spelt as expected, and msgspec reads it straight into a `WireEvent`, skipping what we do not keep.
Any other is respelt, key by key, and then read in the same way. So there is one reader, and drift costs time, not
events. Neither way makes anything of a value that we do not keep, so such a value can neither spoil an event nor take
memory: it must be JSON, in UTF-8, and that is all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from azure.eventgrid import SystemEventNames
from msgspec import UNSET, Raw, Struct, UnsetType

from tasks.reasons import Reason
from worker.json_parts import MOST_PARTS, holds_more_parts, split_parts

DELIVERY_REPORT: Final = SystemEventNames.AcsEmailDeliveryReportReceivedEventName.value
ENGAGEMENT_REPORT: Final = SystemEventNames.AcsEmailEngagementTrackingReportReceivedEventName.value

#: A mailer's own headers, should Azure echo them, have this in every spelling that was seen or announced.
ECHO: Final = b"istmonk"

#: Most elements that a body is taken apart into before it is known whether they are more than `MOST_PARTS`. They take a
#: hundred bytes of memory each, and of tiny ones a body can hold millions.
_MOST_AT_ONCE: Final = 5 * MOST_PARTS


class WireData(Struct, rename="camel"):
    """What we read of an event's ``data``."""

    message_id: str | None = None
    internet_message_id: str | None = None
    user_action_timestamp: str | None = None
    delivery_attempt_timestamp: str | None = None
    engagement_type: str | None = None
    engagement: str | None = None  # what the SDKs call engagementType
    engagement_context: str | None = None
    user_agent: str | None = None
    status: str | None = None
    recipient: str | None = None
    delivery_status_details: Raw = Raw()  # an object; in old samples a string
    listmonk_campaign: str | int | None = None
    listmonk_subscriber: str | int | None = None


class WireEvent(Struct, rename="camel"):
    """What we read of either envelope."""

    data: WireData
    id: str
    event_type: str | None = None  # Event Grid's own envelope
    topic: str | None = None
    event_time: str | None = None
    type: str | None = None  # CloudEvents
    source: str | None = None
    time: str | None = None


class _Envelope(Struct, rename="camel"):
    """Either envelope, its values as they stand."""

    data: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    event_type: Raw | UnsetType = UNSET
    topic: Raw | UnsetType = UNSET
    event_time: Raw | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET
    time: Raw | UnsetType = UNSET


class Refused(Exception):
    """A part of a body cannot be read; the other parts can."""

    def __init__(self, reason: Reason, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class TooManyEvents(Exception):
    """A body has more elements than any request of Event Grid's."""


class Ignored(Exception):
    """A well-formed event of a type that we do not follow."""


_decode_parts = msgspec.json.Decoder(list[Raw]).decode
_decode_events = msgspec.json.Decoder(list[WireEvent]).decode
_decode_event = msgspec.json.Decoder(WireEvent).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_keys = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_type: Callable[[Raw], str | None] = msgspec.json.Decoder(str | None).decode
_decode_raw = msgspec.json.Decoder(Raw).decode
_encode = msgspec.json.Encoder().encode

#: Keys of ``data`` as we read them, by what is left of any spelling of theirs.
_SPELLINGS = {field.casefold(): field for field in (info.encode_name for info in msgspec.structs.fields(WireData))} | {
    f"xlistmonk{who.casefold()}{suffix}": f"listmonk{who}"
    for who in ("Campaign", "Subscriber")
    for suffix in ("", "id")
}


def read_body(body: bytes) -> Sequence[WireEvent | Raw | bytes]:
    """Return the events of a request body: read, if all are spelt as expected; otherwise each in its own bytes.

    Raises:
        TooManyEvents: there are more than `MOST_PARTS`, whatever they are.
    """
    if holds_more_parts(body, _MOST_AT_ONCE):
        raise TooManyEvents
    parts = _read_expected(body) or body_parts(body)
    if len(parts) > MOST_PARTS:
        raise TooManyEvents
    return parts


def _read_expected(body: bytes) -> list[WireEvent] | None:
    """Read a whole body in one go, if every event in it is spelt as expected; else return None."""
    try:
        events = _decode_events(body) if body[:1] == b"[" else [_decode_event(body)]
    except (ValueError, RecursionError):
        return None
    return events if ECHO not in body and _is_utf8(body) and all(map(_is_complete, events)) else None


def _is_utf8(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def body_parts(body: bytes) -> Sequence[Raw | bytes]:
    """Return the events of a request body, each in its own bytes: the elements of an array, or the body alone."""
    if body[:1] == b"{":
        return [body]
    try:
        return _decode_parts(body)
    except (ValueError, RecursionError):  # not JSON, not an array, or one element that no parser accepts
        return split_parts(body)


def read_part(part: Raw | bytes) -> WireEvent:
    """Read one event, however it is spelt.

    Raises:
        Refused: it cannot be read; says why.
        Ignored: it is of a type that we do not follow.
    """
    event = _read_envelope(part)
    if _event_type(event) not in (ENGAGEMENT_REPORT, DELIVERY_REPORT):
        raise Ignored
    if not _begins(event.id, b'"'):
        raise Refused(Reason.EVENT_ID_INVALID)
    if event.data is UNSET or not _begins(event.data, b"{"):
        raise Refused(Reason.DATA_INVALID)
    try:
        event.data = Raw(_encode(_respell(_decode_keys(event.data))))
        return _decode_event(_encode(event))
    except msgspec.ValidationError as error:
        raise Refused(Reason.FIELD_INVALID, _path(error)) from None
    except (ValueError, RecursionError):
        raise Refused(Reason.DATA_INVALID) from None


def _read_envelope(part: Raw | bytes) -> _Envelope:
    try:
        _decode_raw(part)
        bytes(part).decode()  # msgspec takes UTF-8 for granted in what it skips
        return _decode_envelope(part)
    except RecursionError:
        raise Refused(Reason.TOO_DEEP) from None
    except msgspec.ValidationError:
        raise Refused(Reason.NOT_AN_EVENT) from None
    except ValueError:
        raise Refused(Reason.NOT_JSON) from None


def _event_type(event: _Envelope) -> str:
    try:
        types = [_decode_type(value) for value in (event.event_type, event.type) if value is not UNSET]
    except ValueError:
        types = []
    for event_type in filter(None, types):
        return event_type
    raise Refused(Reason.EVENT_TYPE_INVALID)


def _begins(value: Raw | UnsetType, mark: bytes) -> bool:
    """Tell by its first character what kind of JSON a value is."""
    return value is not UNSET and bytes(value)[:1] == mark


def _is_complete(event: WireEvent) -> bool:
    """Tell whether an event has every key that we look for: one that is missing may be there in another spelling."""
    data = event.data
    if not (data.message_id and data.internet_message_id):
        return False
    event_type = event.event_type or event.type
    if event_type == ENGAGEMENT_REPORT:
        act = data.user_action_timestamp and data.engagement_type
        return bool(act and data.engagement_context is not None and data.user_agent is not None)
    report = event_type == DELIVERY_REPORT and data.delivery_attempt_timestamp and data.status
    return bool(report and data.recipient is not None and bytes(data.delivery_status_details))


def _respell(data: Mapping[str, Raw]) -> dict[str, Raw]:
    """Give every key that we read its right spelling, whatever its case and hyphens; a right one wins over others."""
    respelt = {_SPELLINGS.get(key.replace("-", "").casefold(), key): value for key, value in data.items()}
    return respelt | {key: data[key] for key in _SPELLINGS.values() if key in data and bytes(data[key]) != b"null"}


def _path(error: msgspec.ValidationError) -> str:
    """Return which field msgspec complains of, and nothing that stands in it."""
    return str(error).rpartition(" - at `$.")[2].rstrip("`")[:100] or "envelope"
