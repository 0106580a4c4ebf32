"""What must hold of every byte string that reaches a parser. Each property takes bytes, and raises if it does not hold.

pytest runs them over the hostile corpus; `make fuzz` looks for bytes that nobody thought of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from db.bounces import BounceRules
from db.listmonk.links import anonymous_url, canonical_url, find_uuids, is_way_out, tracked_link, uncounted_because
from db.models import Malformed, TrackedMessage
from tasks.batch import Body
from tasks.drift import look
from tasks.eventgrid import Parsed, parse_body
from tasks.messages import MessagePipeline, cut_call
from tasks.privacy.recipients import Recipients
from tasks.reasons import Reason
from tasks.wire import WireEvent, body_parts, read_body
from worker.json_parts import MOST_PARTS, holds_more_parts, split_parts
from worker.message_id import LONGEST_MESSAGE_ID, MessageIdInvalid, normalise_message_id, would_be_replaced
from worker.messages import MOST_TRACKINGS, Problem, TooManyTrackings, parse_trackings, warn_of
from worker.receiving.handshake import validation_code

#: When everything is received that is parsed here.
NOW: Final = datetime(2026, 1, 10, 10, 30, tzinfo=UTC)

_BOUNCES: Final = BounceRules(["FilteredSpam:complaint", "5.*:hard", "4.*:soft", "Bounced:hard"])
_REASONS: Final = {reason.value for reason in Reason}
_READER: Final = "12345678-1234-4123-8123-123456789012"
_ADDRESS: Final = re.compile(r"(?<![^/?&=#])ada@example\.net(?![\w.-])")
_SITE: Final = re.compile(r"^[^:/?#]*:(?://[^/?#]*)?")
_PARAMETERS: Final = frozenset({"email", "subscriber"})
_KINDS_OF_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def check_events(body: bytes) -> None:
    """Nothing of a body is lost or made up; what becomes a row can be stored; and its spelling changes nothing."""
    parsed = _parse(body)
    rows = [*parsed.engagements, *parsed.deliveries]
    for row in rows:
        _check_storable(row)
    _check_malformed(parsed.malformed, body)
    whole = [part.body for part in parsed.malformed] == [body]
    assert whole or len(rows) + len(parsed.malformed) + parsed.ignored == len(body_parts(body))
    assert len(rows) + len(parsed.malformed) + parsed.ignored or _is_empty_array(body)
    look(parsed, [Body(body, "1-0", NOW)])
    if not holds_more_parts(body, MOST_PARTS):
        _check_both_ways_agree(body, parsed)
        _check_alone_as_together(body, parsed)


def check_trackings(body: bytes) -> None:
    """Of a call every item is a tracking or a problem, at whichever door, and whole or cut."""
    items = parse_trackings(body)
    trackings = [item for item in items if not isinstance(item, Problem)]
    for item in items:
        if isinstance(item, Problem):
            assert item.sentence
            assert item.body in body
    warn_of(trackings)
    _check_http(body, len(items))
    pipeline = MessagePipeline(tracked_via="stream", recipients=Recipients(plain=True))
    rows = pipeline.parse([Body(body, "1-0", NOW)])
    for message in rows.messages:
        _check_message(message)
    _check_malformed(rows.malformed, body)
    assert (len(rows.messages), len(rows.malformed)) == (len(trackings), len(items) - len(trackings))
    cut = pipeline.parse([Body(call, "1-0", NOW) for call in cut_call(body)])
    assert cut.messages == rows.messages
    # What is on the stream is what was understood.
    assert parse_trackings(msgspec.json.encode(trackings)) == trackings


def check_message_id(text: bytes) -> None:
    """A Message-ID has one spelling, which fits its column; whatever is none is refused."""
    given = text.decode("utf-8", "replace")
    try:
        spelt = normalise_message_id(given)
    except MessageIdInvalid:
        return
    assert normalise_message_id(spelt) == spelt
    assert 2 < len(spelt) <= LONGEST_MESSAGE_ID
    assert spelt.isascii()
    assert spelt.isprintable()
    assert " " not in spelt
    would_be_replaced(spelt)


def check_url(text: bytes) -> None:
    """Nothing raises; what a click is counted under fits its index, and names no reader; nor does what people see."""
    url = text.decode("utf-8", "replace").replace("\0", "")
    is_way_out(url)
    find_uuids(url)
    uncounted_because("click", url)
    link = tracked_link(url)
    assert link is None or all(isinstance(part, UUID) for part in link)
    assert not _ADDRESS.search(anonymous_url(url))
    counted = canonical_url(url, personal_parameters=_PARAMETERS, readers=frozenset({_READER}))
    if counted is not None:
        assert 0 < len(counted.encode(errors="replace")) <= 2000
        page = _SITE.sub("", counted)
        assert _READER not in page.lower()
        assert counted.startswith("mailto:") or not _ADDRESS.search(page)


def check_split(body: bytes) -> None:
    """Splitting agrees with the parser wherever that can read; elsewhere no byte is made up."""
    parts = split_parts(body)
    assert len(parts) > 0
    assert all(part in body for part in parts)
    assert parts == [body] or not holds_more_parts(body, len(parts))
    try:
        read = _KINDS_OF_PARTS(body)
    except (ValueError, RecursionError):
        return
    assert parts == ([bytes(part) for part in read] or [b""])


def check_handshake(body: bytes) -> None:
    """A code is text that can be sent back, or none."""
    code = validation_code(body)
    assert code is None or (code and code.encode())


PROPERTIES: Final[dict[str, Callable[[bytes], None]]] = {
    "events": check_events,
    "trackings": check_trackings,
    "message-id": check_message_id,
    "url": check_url,
    "split": check_split,
    "handshake": check_handshake,
}


def _parse(body: bytes) -> Parsed:
    parsed = Parsed()
    parse_body(body, parsed, entry_id="1-0", received_at=NOW, bounces=_BOUNCES)
    return parsed


def _is_empty_array(body: bytes) -> bool:
    return body.translate(None, b" \t\r\n") == b"[]"


def _check_malformed(malformed: Iterable[Malformed], body: bytes) -> None:
    for part in malformed:
        assert part.body in body
        assert part.reason in _REASONS
        _check_storable(part)


def _check_both_ways_agree(body: bytes, parsed: Parsed) -> None:
    """What is read in one go is read alike event by event, which a neighbour of an unknown type brings about."""
    parts = read_body(body)
    if not parts or not isinstance(parts[0], WireEvent) or body[:1] != b"[":
        return
    apart = _parse(body.rstrip()[:-1] + b',{"type":"x"}]')
    assert (apart.engagements, apart.deliveries) == (parsed.engagements, parsed.deliveries)
    assert (apart.malformed, apart.ignored) == (parsed.malformed, parsed.ignored + 1)


def _check_alone_as_together(body: bytes, parsed: Parsed) -> None:
    """An event is what it is, whoever its neighbours are."""
    parts = [bytes(part) for part in body_parts(body)]
    if len(parts) < 2 or any(part.lstrip()[:1] == b"[" for part in parts):
        return
    alone = Parsed()
    for part in parts:
        parse_body(part, alone, entry_id="1-0", received_at=NOW, bounces=_BOUNCES)
    assert (alone.engagements, alone.deliveries) == (parsed.engagements, parsed.deliveries)
    assert (alone.malformed, alone.ignored) == (parsed.malformed, parsed.ignored)


def _check_http(body: bytes, items: int) -> None:
    try:
        assert len(parse_trackings(body, most=MOST_TRACKINGS)) == items
    except TooManyTrackings:
        assert items > MOST_TRACKINGS


def _check_message(message: TrackedMessage) -> None:
    _check_storable(message)
    assert message.internet_message_id or message.azure_message_id
    for number in (message.campaign_id, message.subscriber_id):
        assert number is None or 0 < number < 2**31
    assert message.recipient_domain is None or "@" not in message.recipient_domain


def _check_storable(row: Iterable[Any]) -> None:
    """PostgreSQL holds no NUL and no surrogate in text, and Python cannot read back every instant that it holds."""
    for value in row:
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
        elif isinstance(value, datetime):
            assert datetime(2000, 1, 1, tzinfo=UTC) <= value.astimezone(UTC) < datetime(2100, 1, 1, tzinfo=UTC)
        elif isinstance(value, float):
            assert math.isfinite(value)
    named = row._asdict() if hasattr(row, "_asdict") else {}
    assert len(named.get("internet_message_id") or "") <= LONGEST_MESSAGE_ID
    assert 0 < len(named.get("event_id", "x")) <= 200
    assert len(named.get("recipient_domain") or "") <= 253
    for key in ("event_key", "content_key", "azure_message_id", "smtp_server_uuid", "link_campaign", "link_subscriber"):
        assert named.get(key) is None or len(named[key]) == 16
