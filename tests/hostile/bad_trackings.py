"""Send-trackings that a mailer must not send, through each of the three doors.

By HTTP a call is refused whole, and the mailer is told. The other doors cannot answer: there the bad item is
quarantined, and its neighbours are tracked.
"""

from __future__ import annotations

import gzip
import json
from typing import Any, Final

from tasks.reasons import Reason
from tests.hostile.bad_events import LARGEST_BODY
from tests.hostile.case import HEALTHY, MESSAGE_SECRET, Added, Bytes, Case, Found, Http, Large, Task
from worker.json_parts import MOST_PARTS
from worker.queues import TRACKING

BEARER: Final = {"Authorization": f"Bearer {MESSAGE_SECRET}"}


def tracking(name: str, **fields: Any) -> dict[str, Any]:
    """Return a tracking of a message that is named after its row. A key given as ``...`` is left out."""
    every = {"internet_message_id": message_id(name), "campaign_id": 7, "subscriber_id": 12} | fields
    return {key: value for key, value in every.items() if value is not ...}


def message_id(name: str) -> str:
    return f"<{name}@mail.example.com>"


def called(name: str, body: Bytes, answer: int, *tracked: str) -> Case:
    """Return a call by HTTP, and the messages that it tracks."""
    return Case(name, Http(body, "/messages", headers=BEARER), (answer,), Found(tracked=tracked))


def refused(name: str, **fields: Any) -> Case:
    """Return a call by HTTP with one bad tracking between two good ones: none of them is tracked."""
    body = [tracking(f"{name}/before"), tracking(name, **fields), tracking(f"{name}/after")]
    return called(name, json.dumps(body).encode(), 422)


def taken(name: str, **fields: Any) -> Case:
    """Return a call by HTTP with a tracking that is strange, and sound."""
    sent = tracking(name, **fields)
    return called(name, json.dumps(sent).encode(), 202, sent["internet_message_id"])


def added(name: str, body: Bytes, found: Found) -> Case:
    """Return an entry that a mailer puts onto the stream by itself."""
    return Case(name, Added({b"body": body}), (), found)


def quarantined(name: str, *bodies: bytes, reason: Reason = Reason.TRACKING_INVALID) -> Found:
    """Say that the bytes are quarantined, while the neighbours that `between` puts around them are tracked."""
    neighbours = (message_id(f"{name}/before"), message_id(f"{name}/after"))
    return Found(tracked=neighbours, quarantined={body: reason for body in bodies})


def between(name: str, *items: bytes) -> bytes:
    """Return an array of items with good trackings before and after them."""
    good = [json.dumps(tracking(f"{name}/{where}")).encode() for where in ("before", "after")]
    return b"[" + b",".join([good[0], *items, good[1]]) + b"]"


_SMALL: Final = b'{"campaign_id":7,"internet_message_id":"%d"}'

BY_HTTP: Final = [
    called("call-not-json", b"<html>", 422),
    called("call-empty", b"", 422),
    called("call-null", b"null", 422),
    called("call-text", b'"text"', 422),
    called("call-empty-array", b"[]", 202),
    called("call-nested", b"[[" + json.dumps(tracking("call-nested")).encode() + b"]]", 422),
    called("call-truncated", between("call-truncated")[:-30], 422),
    called("call-utf-16", between("call-utf-16").decode().encode("utf-16"), 422),
    called("call-byte-order-mark", b"\xef\xbb\xbf" + between("call-byte-order-mark"), 422),
    called("call-invalid-utf8", between("call-invalid-utf8").replace(b"before", b"\xff"), 422),
    called("call-surrogate", between("call-surrogate").replace(b"before", b"\\ud800"), 422),
    called("call-nan", between("call-nan").replace(b"12}", b"NaN}"), 422),
    called("call-deep", b"[" * 100_000, 422),
    called("call-deep-item", between("call-deep-item", b'{"a":' * 50_000 + b"1" + b"}" * 50_000), 422),
    called("call-quote-without-end", Large(b'\\"', LARGEST_BODY // 2 - 2, head=b'["'), 422),
    called("call-line-bad", b"\n".join([_SMALL % 1, b"{", _SMALL % 2]), 422),
    called("call-millions", Large(b"1,", LARGEST_BODY // 2 - 2, head=b"[", tail=b"1]"), 422),
    called("call-million-lines", Large(b"{}\n", LARGEST_BODY // 3), 422),
    called("call-too-many", b"[" + b",".join([_SMALL % 1] * (MOST_PARTS + 1)) + b"]", 413),
    called("call-too-large", Large(b" ", LARGEST_BODY + 1), 413),
    Case("call-gzip", Http(gzip.compress(b"[]", mtime=0), "/messages", headers=BEARER | {"Content-Encoding": "gzip"}),
         (415,)),
    Case("call-without-secret", Http(b"[]", "/messages", headers={}), (404,)),
    Case("call-with-wrong-secret", Http(b"[]", "/messages", headers={"Authorization": "Bearer wrong"}), (404,)),
    Case("call-with-basic", Http(b"[]", "/messages", headers={"Authorization": f"Basic {MESSAGE_SECRET}"}), (404,)),
    Case("call-with-secret-in-query", Http(b"[]", f"/messages?code={MESSAGE_SECRET}", headers={}), (404,)),
    refused("campaign-missing", campaign_id=...),
    refused("campaign-zero", campaign_id=0),
    refused("campaign-negative", campaign_id=-1),
    refused("campaign-beyond-int32", campaign_id=2**31),
    refused("campaign-beyond-int64", campaign_id=10**30),
    refused("campaign-fraction", campaign_id=1.5),
    refused("campaign-text", campaign_id="7"),
    refused("campaign-true", campaign_id=True),
    refused("campaign-array", campaign_id=[7]),
    refused("subscriber-zero", subscriber_id=0),
    refused("message-missing", internet_message_id=...),
    refused("message-empty", internet_message_id=""),
    refused("message-blank", internet_message_id=" \t"),
    refused("message-number", internet_message_id=7),
    refused("message-nul", internet_message_id="<a\0b@example.com>"),
    refused("message-crlf", internet_message_id="<a@example.com>\r\nBcc: b@example.com"),
    refused("message-unicode", internet_message_id="<ä@example.com>"),
    refused("message-10kb", internet_message_id="<" + "x" * 10_000 + "@example.com>"),
    refused("azure-id-text", azure_message_id="not-a-uuid"),
    refused("azure-id-underscores", azure_message_id="5b1e3c44_0000_4000_8000_0000000000aa"),
    refused("azure-id-wide-digits", azure_message_id="\u0661" * 32),
    refused("server-number", smtp_server_uuid=7),
    *(refused(f"sent-{name}", sent_at=text) for name, text in {
        "infinity": "infinity", "now": "now", "year-99999": "99999-01-01T00:00:00Z", "1970": "1970-01-01T00:00:00Z",
        "2100": "2100-01-01T00:00:00Z", "without-zone": "2026-01-10T10:00:00", "zone-99": "2026-01-10T10:00:00+99:99",
    }.items()),
    refused("domain-10kb", recipient_domain="x" * 10_000),
    refused("domain-nul", recipient_domain="exa\0mple.net"),
    refused("domain-blank", recipient_domain=" "),
    taken("message-sql", internet_message_id="<');DELETE/**/FROM/**/azure_message_tracking;--@a.example>"),
    taken("message-250", internet_message_id="<" + "x" * 236 + "@example.com>"),
    taken("domain-address", recipient_domain="Ada Lovelace <ada@example.net"),
    taken("field-unheard-of", unheard_of={"a": [1e300, "\0"]}),
    called("call-twice", json.dumps([tracking("call-twice")] * 2).encode(), 202, message_id("call-twice")),
]  # fmt: skip

_MILLIONS: Final = Large(b"3,", 4_000_000, head=b"[", tail=b"3]")

BY_STREAM: Final = [
    Case("entry-without-body", Added({b"payload": b"{}"}), (), Found(quarantined={b"": Reason.TRACKING_INVALID})),
    added("entry-not-json", b"\x80\x04\x95", Found(quarantined={b"\x80\x04\x95": Reason.TRACKING_INVALID})),
    added("entry-nan", between("entry-nan", b'{"a": NaN}'), quarantined("entry-nan", b'{"a": NaN}')),
    added("entry-deep", b"[" * 50_000, Found(quarantined={b"[" * 50_000: Reason.TRACKING_INVALID})),
    added("entry-mixed", between("entry-mixed", b"7", b"{}", b'"x"'), quarantined("entry-mixed", b"7", b"{}", b'"x"')),
    added("entry-bad-by-the-thousand", between("entry-bad-by-the-thousand", *(b"%d" % n for n in range(5000, 8000))),
          quarantined("entry-bad-by-the-thousand", *(b"%d" % n for n in range(5000, 8000)))),
    added("entry-millions", _MILLIONS, Found(quarantined={_MILLIONS: Reason.TRACKING_INVALID})),
    added("entry-other-campaign", json.dumps({"internet_message_id": HEALTHY, "campaign_id": 8}).encode(), Found(
        quarantined={b'{"campaign_id":8,"internet_message_id":"%b"}' % HEALTHY.encode(): Reason.TRACKING_REFUSED})),
    added("entry-no-such-campaign", json.dumps(tracking("no-such-campaign", campaign_id=2**31 - 1)).encode(), Found(
        quarantined={json.dumps(tracking("no-such-campaign", campaign_id=2**31 - 1)).encode():
                     Reason.CAMPAIGN_OR_SUBSCRIBER_DELETED})),
    Case("event-entry-without-body", Added({b"x": b"y"}, "attribution:events"), (),
         Found(quarantined={b"": Reason.NOT_JSON})),
]  # fmt: skip

BY_CELERY: Final = [
    Case("task-without-arguments", Task("track_message"), (), Found(quarantined={b"{}": Reason.TRACKING_INVALID})),
    Case("task-wrong-keywords", Task("track_message", kwargs={"wrong": [1]}), (),
         Found(quarantined={b'{"wrong":[1]}': Reason.TRACKING_INVALID})),
    Case("task-too-many-arguments", Task("track_message", args=["<a@b>", 1, 2, 3, 4, 5, 6, 7]), (),
         Found(quarantined=dict.fromkeys([b'"<a@b>"', *(b"%d" % n for n in range(1, 8))], Reason.TRACKING_INVALID))),
    Case("task-text", Task("track_messages", args=["text"]), (),
         Found(quarantined={b'"text"': Reason.TRACKING_INVALID})),
    Case("task-nothing", Task("track_messages", args=[None]), (),
         Found(quarantined={b"null": Reason.TRACKING_INVALID})),
    Case("task-mixed", Task("track_messages", args=[[tracking("task-mixed"), {"campaign_id": float("nan")}, []]]), (),
         Found(tracked=(message_id("task-mixed"),),
               quarantined={b'{"campaign_id":null}': Reason.TRACKING_INVALID, b"[]": Reason.TRACKING_INVALID})),
    Case("task-huge-number", Task("track_message", args=["<a@b>", 10**400]), (), Found(
        quarantined={b'{"internet_message_id":"<a@b>","campaign_id":%d}' % 10**400: Reason.TRACKING_INVALID})),
    Case("task-surrogate", Task("track_message", args=["<\ud800@b>", 7]), (), Found(
        quarantined={b'{"internet_message_id": "<\\ud800@b>", "campaign_id": 7}': Reason.TRACKING_INVALID})),
    Case("task-unheard-of", Task("drop_everything", args=["x"]), (), Found(quarantined={
        b'{"unknown_task":"drop_everything","arguments":["x"],"keywords":{}}': Reason.TRACKING_INVALID})),
]  # fmt: skip

QUEUE: Final = TRACKING
BAD_TRACKINGS: Final[list[Case]] = [*BY_HTTP, *BY_STREAM, *BY_CELERY]
