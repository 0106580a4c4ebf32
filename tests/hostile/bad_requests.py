"""Requests whose fault is not in their JSON: secrets, handshakes, headers, methods, and bytes that are hardly HTTP.

Nothing of them is stored, unless the row says so.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Final

from tests.hostile.bad_events import LARGEST_BODY
from tests.hostile.case import (
    EVENT_SECRET,
    MESSAGE_SECRET,
    NOTHING,
    Case,
    Found,
    Http,
    Large,
    Raw,
    among,
    healthy,
    neighbours,
)
from tests.tasks.payloads import SOURCE

#: Where the fake handshakes would have us call; the test listens there.
VALIDATION_PORT_MARK: Final = b"VALIDATION-PORT"

SECRET: Final = {"X-Attribution-Secret": EVENT_SECRET}
_KIND: Final = {"aeg-event-type": "SubscriptionValidation"}
VALIDATING: Final = SECRET | _KIND


def validation(code: object, *more: object) -> bytes:
    """Return what Event Grid, or somebody in its name, sends to find out whether we want to be called."""
    event = {
        "id": "2d00",
        "topic": SOURCE,
        "data": {"validationCode": code, "validationUrl": f"http://127.0.0.1:{VALIDATION_PORT_MARK.decode()}/validate"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-10T10:20:00Z",
    }
    return json.dumps([event, *more]).encode()


def stranger(name: str, headers: Mapping[str, str] | None = None, path: str = "/eventgrid") -> Case:
    """Return a case of a caller that proves nothing, with a body that would be worth having."""
    return Case(name, Http(b"[" + healthy(f"{name}/lost") + b"]", path, headers=headers or {}), (404,))


def stored(name: str, headers: Mapping[str, str]) -> Case:
    """Return a case of odd headers around a body that is stored all the same."""
    return Case(name, Http(among(name), headers=SECRET | dict(headers)), (200,), Found(attributed=neighbours(name)))


def raw(name: str, sent: bytes, *answers: int, flood: bytes = b"", found: Found = NOTHING) -> Case:
    return Case(name, Raw(sent, flood), answers, found)


def head(*lines: str, path: str = "/eventgrid", method: str = "POST") -> bytes:
    """Return the head of a request with a good secret, and the lines given."""
    every = [f"{method} {path} HTTP/1.1", "Host: receiver.example.com", f"X-Attribution-Secret: {EVENT_SECRET}", *lines]
    return "".join(f"{line}\r\n" for line in every).encode() + b"\r\n"


def posted(name: str, *lines: str) -> bytes:
    """Return a whole request that posts `among`'s body."""
    return head(*lines, f"Content-Length: {len(among(name))}") + among(name)


def chunked(name: str, *lines: str) -> bytes:
    """Return the same request, its body in two chunks."""
    body = among(name)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (body[:99], body[99:]))
    return head("Transfer-Encoding: chunked", *lines) + chunks + b"0\r\n\r\n"


SECRETS: Final = [
    stranger("secret-missing"),
    stranger("secret-wrong", {"X-Attribution-Secret": "wrong-secret-0123456789"}),
    stranger("secret-empty", {"X-Attribution-Secret": ""}),
    stranger("secret-non-ascii", {"X-Attribution-Secret": "geheimnis-ä-ö-ü-\u20ac-0123456789"}),
    stranger("secret-half", {"X-Attribution-Secret": EVENT_SECRET[:-1]}),
    stranger("secret-of-mailers", {"X-Attribution-Secret": MESSAGE_SECRET}),
    stranger("secret-as-bearer", {"Authorization": f"Bearer {EVENT_SECRET}"}),
    stranger("secret-as-password", {"Authorization": "Basic " + EVENT_SECRET}),
    stranger("secret-in-cookie", {"Cookie": f"code={EVENT_SECRET}"}),
    stranger("secret-wrong-in-query", path="/eventgrid?code=%00%ff%F0%9F%98%80&code="),
    stranger("secret-in-path", path=f"/eventgrid/{EVENT_SECRET}"),
    stranger("secret-50kb", {"X-Attribution-Secret": "x" * 50_000}),
    stranger("token-forged", {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0."}),
]

HANDSHAKES: Final = [
    Case("handshake-of-stranger", Http(validation("512d"), headers=_KIND), (404,)),
    Case("handshake-with-url", Http(validation("512d"), headers=VALIDATING), (200,)),
    Case("handshake-script", Http(validation("<script>alert(1)</script>"), headers=VALIDATING), (200,)),
    Case("handshake-undeclared", Http(validation("512d"), headers=SECRET), (200,), Found(ignored=1)),
    Case("handshake-code-number", Http(validation(512), headers=VALIDATING), (200,), Found(ignored=1)),
    Case("handshake-100kb", Http(validation("5" * 100_000), headers=VALIDATING), (200,), Found(ignored=1)),
    Case("handshake-with-event", Http(validation("5", json.loads(healthy("came-along"))), headers=VALIDATING), (200,),
         Found(attributed=("came-along",), ignored=1)),
    stored("handshake-deletion", {"aeg-event-type": "SubscriptionDeletion"}),
    *(Case(f"handshake-origin-{name}", Http(method="OPTIONS", headers={"WebHook-Request-Origin": origin}), (200,))
      for name, origin in {"foreign": "evil.example.net", "empty": "", "many": "eventgrid.azure.net, evil.example.net",
                           "suffix": "eventgrid.azure.net.example.net", "50kb": "x" * 50_000,
                           "unicode": "eventgrid.azure.nét"}.items()),
]  # fmt: skip

HEADERS: Final = [
    *(Case(f"encoding-{name}", Http(body, headers=SECRET | {"Content-Encoding": name}), (415,))
      for name, body in {"gzip": gzip.compress(b"[]", mtime=0), "deflate": zlib.compress(b"[]"), "br": b"[]",
                         "unheard-of": b"[]", "gzip, identity": b"[]"}.items()),
    stored("encoding-identity", {"Content-Encoding": "IDENTITY"}),
    stored("content-type-xml", {"Content-Type": "application/xml; charset=utf-16"}),
    stored("subscription-controls", {"aeg-subscription-name": "ACS\t\x80\xff{\"level\":\"ERROR\"}"}),
    stored("subscription-50kb", {"aeg-subscription-name": "x" * 50_000}),
    stored("delivery-count-text", {"aeg-delivery-count": "'; DROP TABLE", "aeg-event-type": "Notification\t"}),
    stored("host-foreign", {"Host": "evil.example.net", "X-Forwarded-For": "::1' --", "Forwarded": "for=\"_\""}),
    Case("body-too-large", Http(Large(b"x", LARGEST_BODY + 1)), (413,)),
    Case("method-get", Http(method="GET"), (405,)),
    Case("method-put", Http(healthy("x"), method="PUT"), (405,)),
    Case("method-trace", Http(method="TRACE"), (405,)),
    Case("path-unknown", Http(b"[]", "/admin.php"), (404,)),
    Case("path-slash", Http(b"[]", "/eventgrid/"), (404,)),
    Case("path-double-slash", Http(b"[]", "//eventgrid"), (404,)),
    Case("path-dots", Http(b"[]", "/eventgrid/../../etc/passwd"), (404,)),
    Case("path-encoded-controls", Http(b"[]", "/%00%0d%0aX:%20y%ff"), (404,)),
]  # fmt: skip

WIRE: Final = [
    raw("wire-garbage", b"\x00\x01\x02 garbage\r\n\r\n", 400),
    raw("wire-tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
    raw("wire-http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    raw("wire-method-lower", head(method="post"), 400),
    raw("wire-target-not-ascii", b"GET /h\xe9 HTTP/1.1\r\n\r\n", 400),
    raw("wire-target-broken", b"GET http://[::1 HTTP/1.1\r\n\r\n", 400),
    raw("wire-nul-in-header", head("A: x\0y"), 400),
    raw("wire-folded-header", head("A: x\r\n y"), 400),
    raw("wire-header-without-colon", head("A"), 400),
    raw("wire-bare-return", head("A: x\ry"), 400),
    raw("wire-two-lengths", head("Content-Length: 2", "Content-Length: 3") + b"[]", 400),
    raw("wire-length-and-chunks", head("Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    raw("wire-length-negative", head("Content-Length: -1"), 400),
    raw("wire-length-huge", head("Content-Length: 99999999999999999999999"), 400),
    raw("wire-length-text", head("Content-Length: ten"), 400),
    raw("wire-length-over-limit", head(f"Content-Length: {10**12}"), 413),
    raw("wire-length-too-short", posted("wire-length-too-short") + b"x" * 10, 200,
        found=Found(attributed=neighbours("wire-length-too-short"))),
    raw("wire-length-too-long", head("Content-Length: 100000") + among("wire-length-too-long"), 408),
    raw("wire-chunk-not-hexadecimal", head("Transfer-Encoding: chunked") + b"zz\r\n", 400),
    raw("wire-chunk-huge", head("Transfer-Encoding: chunked") + b"f" * 20 + b"\r\n", 400),
    raw("wire-chunks-over-limit", head("Transfer-Encoding: chunked"), 413,
        flood=b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
    raw("wire-chunks", chunked("wire-chunks"), 200, found=Found(attributed=neighbours("wire-chunks"))),
    raw("wire-encoding-unheard-of", head("Transfer-Encoding: gzip"), 400),
    raw("wire-upgrade", posted("wire-upgrade", "Connection: Upgrade", "Upgrade: h2c"), 200,
        found=Found(attributed=neighbours("wire-upgrade"))),
    raw("wire-upgrade-chunks", chunked("wire-upgrade-chunks", "Connection: Upgrade", "Upgrade: websocket"), 200,
        found=Found(attributed=neighbours("wire-upgrade-chunks"))),
    raw("wire-pipeline", posted("wire-pipeline-1") + posted("wire-pipeline-2"), 200, 200,
        found=Found(attributed=(*neighbours("wire-pipeline-1"), *neighbours("wire-pipeline-2")))),
    raw("wire-absolute-target", posted("wire-absolute").replace(b" /eventgrid ", b" http://a.example/eventgrid "), 200,
        found=Found(attributed=neighbours("wire-absolute"))),
    raw("wire-head-slow", b"POST /eventgrid HTTP/1.1\r\nHost: a", 408),
    raw("wire-head-without-end", b"POST /eventgrid HTTP/1.1\r\nA: ", 431, flood=b"a" * 65_536),
    raw("wire-body-slow", head("Content-Length: 10"), 408),
    raw("wire-trailers-without-end", head("Transfer-Encoding: chunked") + b"2\r\n[]\r\n0\r\n",
        flood=b"T: " + b"x" * 60_000 + b"\r\n"),
]  # fmt: skip

BAD_REQUESTS: Final[list[Case]] = [*SECRETS, *HANDSHAKES, *HEADERS, *WIRE]
