"""Bodies that whoever has Event Grid's secret may post. Each is answered 200: a retry would cure none of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any, Final

from tasks.reasons import Reason
from tests.hostile.case import (
    HEALTHY,
    Bytes,
    Case,
    Found,
    Large,
    among,
    events,
    healthy,
    malformed_body,
    malformed_part,
    neighbours,
    part,
    sound_part,
)
from tests.tasks.payloads import SOURCE, cloud_event, delivery, engagement
from worker.json_parts import MOST_PARTS

MEBIBYTE: Final = 2**20
#: The receiver's limit, unless it is told otherwise.
LARGEST_BODY: Final = 8 * MEBIBYTE
#: Sent before the corpus, so that it is stored when the corpus contradicts it.
FIRST: Final = part(engagement("the-first", internet_message_id=HEALTHY))


def click(name: str, **data: Any) -> dict[str, Any]:
    """Return a click of the healthy message, under the name of its row."""
    return engagement(name, **{"internet_message_id": HEALTHY, **data})


def report(name: str, **data: Any) -> dict[str, Any]:
    """Return a delivery report of the healthy message that names it by its Message-ID only."""
    return delivery(name, **{"internet_message_id": HEALTHY, "messageId": ..., **data})


def spoilt(name: str, old: bytes, new: bytes) -> bytes:
    """Return a click with some of its bytes replaced by others."""
    event = part(click(name))
    assert event.count(old) == 1, (name, old)
    return event.replace(old, new)


def with_unread(name: str, value: bytes) -> bytes:
    """Return a click that has, besides, a field that nobody reads."""
    return spoilt(name, b'"userAgent"', b'"unheardOf": ' + value + b', "userAgent"')


_ID = b'"id": "%b"'
_TIME = "userActionTimestamp"

NOT_JSON: Final = [
    malformed_body("not-json", b"<html><body>503</body></html>"),
    malformed_body("empty-body", b""),
    malformed_body("blank-body", b" \r\n\t"),
    malformed_body("form", b"id=1&eventType=Microsoft.Communication.EmailDeliveryReportReceived"),
    malformed_body("truncated-body", among("truncated-body")[:-40]),
    malformed_body("trailing-garbage", among("trailing-garbage") + b"x"),
    malformed_body("two-arrays", among("two-arrays") * 2),
    malformed_body("event-per-line", healthy("line-1") + b"\n" + healthy("line-2")),
    malformed_body("guarded-json", b")]}',\n" + healthy("guarded")),
    malformed_body("null-body", b"null", Reason.NOT_AN_EVENT),
    malformed_body("number-body", b"42", Reason.NOT_AN_EVENT),
    malformed_body("text-body", b'"an event"', Reason.NOT_AN_EVENT),
    events("empty-array", b"[]"),
    malformed_body("utf-16-body", among("utf-16-body").decode().encode("utf-16")),
    malformed_body("utf-16-without-mark", among("utf-16-without-mark").decode().encode("utf-16-be")),
    malformed_body("utf-32-body", among("utf-32-body").decode().encode("utf-32")),
    malformed_body("byte-order-mark", b"\xef\xbb\xbf" + among("byte-order-mark")),
    malformed_body("gzip-undeclared", gzip.compress(among("gzip-undeclared"), mtime=0)),
    malformed_body("deep-array", b"[" * 100_000, Reason.TOO_DEEP),
    malformed_body("deep-object", b'{"a":' * 100_000, Reason.TOO_DEEP),
    malformed_body("quote-without-end", Large(b'\\"', LARGEST_BODY // 2 - 2, head=b'["')),
    malformed_body("only-quotes", Large(b'"', LARGEST_BODY)),
    malformed_body("unclosed-array", b"[" + b"7," * 20_000),
    malformed_part("trailing-comma", b"", Reason.NOT_JSON),
    malformed_part("comment", b'/* {"id": 1} */', Reason.NOT_JSON),
    malformed_part("single-quotes", b"{'id': 'x'}", Reason.NOT_JSON),
    malformed_part("nan", b'{"x": NaN}', Reason.NOT_JSON),
    malformed_part("infinity", spoilt("infinity", b'"Mozilla/5.0"', b"-Infinity"), Reason.NOT_JSON),
    malformed_part("1e400", spoilt("1e400", b'"Mozilla/5.0"', b"1e400"), Reason.FIELD_INVALID),
    malformed_part("5000-digits", spoilt("5000-digits", b'"Mozilla/5.0"', b"9" * 5000), Reason.FIELD_INVALID),
    malformed_part("beyond-int64", spoilt("beyond-int64", b'"Mozilla/5.0"', b"9" * 20), Reason.FIELD_INVALID),
    malformed_part("lone-surrogate", spoilt("lone-surrogate", b"Mozilla", b"\\ud83d"), Reason.NOT_JSON),
    malformed_part("lone-low-surrogate", spoilt("lone-low-surrogate", b"Mozilla", b"\\ude00"), Reason.NOT_JSON),
    malformed_part("surrogate-in-key", spoilt("surrogate-in-key", b'"sender"', b'"\\ud800"'), Reason.NOT_JSON),
    malformed_part("invalid-utf8", spoilt("invalid-utf8", b"Mozilla", b"\xff"), Reason.NOT_JSON),
    malformed_part("latin-1", spoilt("latin-1", b"Mozilla", "Müller".encode("latin-1")), Reason.NOT_JSON),
    malformed_part("overlong-utf8", spoilt("overlong-utf8", b"Mozilla", b"\xc0\x80"), Reason.NOT_JSON),
    malformed_part("utf8-surrogate", spoilt("utf8-surrogate", b"Mozilla", b"\xed\xa0\x80"), Reason.NOT_JSON),
    malformed_part("invalid-utf8-unread", with_unread("invalid-utf8-unread", b'"\xff"'), Reason.NOT_JSON),
    malformed_part("raw-control", spoilt("raw-control", b"Mozilla", b"a\nb"), Reason.NOT_JSON),
    malformed_part("deep-part", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, Reason.TOO_DEEP),
    malformed_part("deep-unread", with_unread("deep-unread", b"[" * 5000 + b"]" * 5000), Reason.TOO_DEEP),
    # What nobody reads only has to be JSON.
    sound_part("1e400-unread", with_unread("1e400-unread", b"1e400")),
    sound_part("5000-digits-unread", with_unread("5000-digits-unread", b"9" * 5000)),
    sound_part("nul-unread", with_unread("nul-unread", b'"\\u0000"')),
]

NOT_EVENTS: Final = [
    malformed_part("number-part", b"7", Reason.NOT_AN_EVENT),
    malformed_part("null-part", b"null", Reason.NOT_AN_EVENT),
    malformed_part("event-in-text", json.dumps(healthy("in-text").decode()).encode(), Reason.NOT_AN_EVENT),
    malformed_part("event-in-array", b"[" + healthy("in-array") + b"]", Reason.NOT_AN_EVENT),
    malformed_part("empty-object", b"{}", Reason.EVENT_TYPE_INVALID),
    malformed_part("type-number", part(click("type-number") | {"eventType": 7}), Reason.EVENT_TYPE_INVALID),
    malformed_part("type-array", part(click("type-array") | {"eventType": [1]}), Reason.EVENT_TYPE_INVALID),
    events("type-unknown", among("type-unknown", part({"eventType": "Contoso.Unheard.Of"})),
           Found(attributed=neighbours("type-unknown"), ignored=1)),
    malformed_part("id-number", part(click("x") | {"id": 7}), Reason.EVENT_ID_INVALID),
    malformed_part("id-null", part(click("x") | {"id": None}), Reason.EVENT_ID_INVALID),
    malformed_part("id-array", part(click("x") | {"id": ["x"]}), Reason.EVENT_ID_INVALID),
    malformed_part("id-empty", part(click("x") | {"id": ""}), Reason.EVENT_ID_INVALID),
    malformed_part("id-10kb", part(click("x" * 10_000)), Reason.EVENT_ID_INVALID),
    malformed_part("id-201", part(click("y" * 201)), Reason.EVENT_ID_INVALID),
    sound_part("id-200", part(click("z" * 200)), event_id="z" * 200),
    malformed_part("nul-in-id", part(click("nul\0in-id")), Reason.EVENT_ID_INVALID),
    malformed_part("crlf-in-id", part(click("crlf\r\nin-id")), Reason.EVENT_ID_INVALID),
    malformed_part("control-in-id", part(click("esc\x1b[31min-id")), Reason.EVENT_ID_INVALID),
    malformed_part("unicode-in-id", part(click("é")), Reason.EVENT_ID_INVALID),
    malformed_part("direction-in-id", part(click("\u202eevil")), Reason.EVENT_ID_INVALID),
    sound_part("sql-in-id", part(click("'); DROP TABLE azure_engagement_events; --")),
               event_id="'); DROP TABLE azure_engagement_events; --"),
    sound_part("format-in-id", part(click("%s%n{0}{__class__}$(id)`id`")), event_id="%s%n{0}{__class__}$(id)`id`"),
    malformed_part("source-missing", part(click("x") | {"topic": None}), Reason.SOURCE_INVALID),
    malformed_part("source-array", part(click("x") | {"topic": ["a"]}), Reason.FIELD_INVALID),
    malformed_part("data-null", part(click("x") | {"data": None}), Reason.DATA_INVALID),
    malformed_part("data-text", part(click("x") | {"data": "text"}), Reason.DATA_INVALID),
    malformed_part("data-array", part(click("x") | {"data": [{}]}), Reason.DATA_INVALID),
    malformed_part("data-empty", part(click("x") | {"data": {}}), Reason.FIELD_INVALID),
    malformed_part("data-base64", part({**cloud_event(click("x")), "data": None, "data_base64": "e30="}),
                   Reason.DATA_INVALID),
]  # fmt: skip

FIELDS: Final = [
    malformed_part("kind-number", part(click("x", engagementType=5)), Reason.FIELD_INVALID),
    malformed_part("kind-missing", part(click("x", engagementType=...)), Reason.FIELD_INVALID),
    malformed_part("status-missing", part(report("x", status=None)), Reason.FIELD_INVALID),
    malformed_part("details-array", part(report("x", deliveryStatusDetails=["x"])), Reason.FIELD_INVALID),
    malformed_part("nul-in-text", part(click("x", userAgent="a\0b")), Reason.FIELD_INVALID),
    malformed_part("nul-in-url", part(click("x", engagementContext="https://example.com/\0")), Reason.FIELD_INVALID),
    sound_part("nul-in-address", part(report("nul-in-address", recipient="ada@exa\0mple.net"))),
    malformed_part("message-id-nul", part(click("x", internetMessageId="<a\0b@example.com>")),
                   Reason.MESSAGE_ID_INVALID),
    malformed_part("message-id-crlf", part(click("x", internetMessageId="<a@example.com>\r\nBcc: b")),
                   Reason.MESSAGE_ID_INVALID),
    malformed_part("message-id-10kb", part(click("x", internetMessageId=f"<{'x' * 10_000}@example.com>")),
                   Reason.MESSAGE_ID_INVALID),
    malformed_part("message-id-unicode", part(click("x", internetMessageId="<ä@example.com>")),
                   Reason.MESSAGE_ID_INVALID),
    malformed_part("message-id-none", part(click("x", internetMessageId=None, messageId="not-a-uuid")),
                   Reason.NO_MESSAGE_ID),
    sound_part("message-id-sql", part(click("message-id-sql", messageId=..., internetMessageId=
               "<');DELETE/**/FROM/**/azure_message_tracking;--@mail.example.com>")), parked=True),
    sound_part("message-id-like", part(click("message-id-like", messageId=..., internetMessageId="<%_%@example.com>")),
               parked=True),
    *(malformed_part(f"timestamp-{name}", part(click("x", **{_TIME: text})), Reason.TIMESTAMP_INVALID)
      for name, text in {
          "infinity": "infinity", "now": "now", "today": "today", "year-99999": "99999-01-01T00:00:00Z",
          "without-zone": "2026-01-10T10:26:40", "zone-99": "2026-01-10T10:26:40+99:99",
          "hour-25": "2026-01-10T25:00:00Z", "second-60": "2026-01-10T10:26:60Z", "february-30": "2026-02-30T10:00:00Z",
          "wide-digits": "\uff12\uff10\uff12\uff16-01-10T10:26:40Z", "week": "2026-W02-6T10:26:40Z",
          "empty": "",
      }.items()),
    malformed_part("timestamp-number", part(click("x", **{_TIME: 1768040800})), Reason.FIELD_INVALID),
    malformed_part("timestamp-1970", part(click("x", **{_TIME: "1970-01-01T00:00:00Z"})),
                   Reason.TIMESTAMP_OUT_OF_RANGE),
    malformed_part("timestamp-9999", part(click("x", **{_TIME: "9999-12-31T23:59:59-14:00"})),
                   Reason.TIMESTAMP_OUT_OF_RANGE),
    malformed_part("timestamp-year-1", part(click("x", **{_TIME: "0001-01-01T00:00:00+14:00"})),
                   Reason.TIMESTAMP_OUT_OF_RANGE),
    malformed_part("timestamp-missing", part({**click("x", **{_TIME: ...}), "eventTime": None}),
                   Reason.TIMESTAMP_MISSING),
    # Odd, and nevertheless what Azure might send.
    sound_part("kind-unheard-of", part(click("kind-unheard-of", engagementType="é" * 1000))),
    sound_part("status-unheard-of", part(report("status-unheard-of", status="x" * 10_000))),
    sound_part("details-large", part(report("details-large", deliveryStatusDetails={"statusMessage": "x" * MEBIBYTE}))),
    sound_part("details-nested", part(report("details-nested", deliveryStatusDetails={"a": [[{"b": 1e300}]]}))),
    sound_part("user-agent-large", part(click("user-agent-large", userAgent="\u0001é😀" * 100_000))),
    sound_part("url-large", part(click("url-large", engagementContext="https://example.com/?" + "a&" * 500_000))),
    sound_part("url-broken", part(click("url-broken", engagementContext="http://[::1/%zz?\u202e@ \\\x7f;'--#\ufffe"))),
    sound_part("url-sql", part(click("url-sql", engagementContext="https://example.com/';DROP TABLE links;--"))),
    sound_part("url-script", part(click("url-script", engagementContext="javascript:alert(document.cookie)"))),
    sound_part("link-of-nobody", part(click("link-of-nobody", engagementContext="https://example.com/link/"
               + "/".join(["ffffffff-ffff-ffff-ffff-ffffffffffff"] * 3)))),
    sound_part("address-strange", part(report("address-strange", recipient='"a@b"@[::1]@éxample.net>>..'))),
    sound_part("address-large", part(report("address-large", recipient="a@" + "é" * 100_000))),
    sound_part("header-huge-number", spoilt("header-huge-number", b'"userAgent"', b'"X-Listmonk-Campaign": '
               + b"9" * 400 + b', "userAgent"')),
    malformed_part("header-5000-digits", spoilt("header-5000-digits", b'"userAgent"', b'"X-Listmonk-Campaign": '
                   + b"9" * 5000 + b', "userAgent"'), Reason.FIELD_INVALID),
    sound_part("header-sql", part(click("header-sql", **{"X-Listmonk-Campaign": "1); DROP TABLE campaigns; --"}))),
    sound_part("header-negative", part(click("header-negative", **{"X-Listmonk-Campaign": -1,
                                                                     "xListmonkSubscriberID": 2**62}))),
    malformed_part("header-object", part(click("x", **{"X-Listmonk-Campaign": {"id": 7}})), Reason.FIELD_INVALID),
    malformed_part("header-nul", part(click("x", **{"X-Listmonk-Campaign": "\0"})), Reason.FIELD_INVALID),
    sound_part("dead-letter", part(click("dead-letter") | {"deadLetterReason": "MaxDeliveryAttemptsExceeded",
               "deliveryAttempts": 30, "publishTime": "never"})),
    sound_part("prototype", part(click("prototype", **{"__proto__": {"a": 1}, "constructor": 1, "": "", "\0": "\0"}))),
    sound_part("100000-keys", part(click("100000-keys", **{f"key{n}": n for n in range(100_000)}))),
]  # fmt: skip

IDENTITY: Final = [
    events("duplicate-keys", spoilt("duplicate-keys", b'{"id": ', b'{"id": "another", "id": '),
           Found(attributed=("duplicate-keys",))),
    events("duplicate-data", spoilt("duplicate-data", b'"data": {', b'"data": {"messageId": 7}, "data": {'),
           Found(attributed=("duplicate-data",))),
    events("duplicate-in-body", b"[" + b",".join([healthy("duplicate-in-body")] * 3) + b"]",
           Found(attributed=("duplicate-in-body",), duplicates=2)),
    events("same-id-other-source", b"[" + b",".join(
        part(click("same-id") | {"topic": f"{SOURCE}-{n}"}) for n in (1, 2)) + b"]",
        Found(attributed=("same-id", "same-id"))),
    events("same-source-other-case", b"[" + b",".join(
        part(click("other-case") | {"topic": topic}) for topic in (SOURCE.upper(), SOURCE.lower())) + b"]",
        Found(attributed=("other-case",), duplicates=1)),
    events("same-id-other-content", FIRST.replace(b"/offer", b"/another"), Found(duplicates=1, contradictions=1)),
]  # fmt: skip


def _tiny(unit: bytes, head: bytes = b"[", tail: bytes = b"]") -> Large:
    """Return the largest body that there is of an array of tiny elements."""
    return Large(unit, (LARGEST_BODY - len(head) - len(tail)) // (len(unit) + 1), head=head, tail=tail, comma=b",")


def _around(name: str, place: bytes, fill: Callable[[bytes, bytes], Large]) -> Large:
    """Return a click that is filled up behind a place in it."""
    head, _, tail = part(click(name)).partition(place)
    return fill(head + place, tail)


_DRIFTED: Final[list[Bytes]] = [part(click(f"drift-{n}", **{_TIME: "10.01.2026"})) for n in range(1000)]

CROWDS: Final = [
    *(malformed_body(f"millions-of-{name}", _tiny(unit), Reason.TOO_MANY_EVENTS)
      for name, unit in {"numbers": b"1", "objects": b"{}", "arrays": b"[]", "nothings": b"",
                         "shells": b'{"id":"","data":{}}', "unknowns": b'{"type":"x"}'}.items()),
    malformed_body("millions-unclosed", _tiny(b"1", tail=b""), Reason.TOO_MANY_EVENTS),
    malformed_body("one-too-many", Large(b'{"type":"x"}', MOST_PARTS + 1, head=b"[", tail=b"]", comma=b","),
                   Reason.TOO_MANY_EVENTS),
    events("as-many-as-may-be", Large(b'{"type":"x"}', MOST_PARTS, head=b"[", tail=b"]", comma=b","),
           Found(ignored=MOST_PARTS)),
    events("bad-by-the-thousand", among("bad-by-the-thousand", *(b"%d" % n for n in range(1000, 4000))), Found(
        attributed=neighbours("bad-by-the-thousand"),
        quarantined={b"%d" % n: Reason.NOT_AN_EVENT for n in range(1000, 4000)})),
    events("drift-by-the-thousand", b"[" + b",".join(map(bytes, _DRIFTED)) + b"]",
           Found(quarantined=dict.fromkeys(_DRIFTED, Reason.TIMESTAMP_INVALID))),
    events("largest-body", Large(b" ", LARGEST_BODY - len(among("largest-body")), head=among("largest-body")),
           Found(attributed=neighbours("largest-body"))),
    events("event-of-8-mib", _around("event-of-8-mib", b'"Mozilla', lambda head, tail: Large(
        b"x", LARGEST_BODY - len(head) - len(tail), head=head, tail=tail)), Found(attributed=("event-of-8-mib",))),
    events("millions-unread", _around("millions-unread", b'"sender": ', lambda head, tail: _tiny(
        b"{}", head=head + b"[", tail=b'], "unheardOf": ' + tail)), Found(attributed=("millions-unread",))),
]  # fmt: skip

BAD_EVENTS: Final[list[Case]] = [*NOT_JSON, *NOT_EVENTS, *FIELDS, *IDENTITY, *CROWDS]
