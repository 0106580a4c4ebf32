"""The receiver's table, row by row: the request, the answer, and what is on the streams afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import redis

from tests.worker.receiving import (
    EVENT_SECRET,
    MESSAGE_SECRET,
    OLD_EVENT_SECRET,
    Caller,
    Entry,
    entries,
)
from worker.streams import EVENTS, MESSAGES

EVENT_GRID = json.dumps([{"id": "8a1f", "eventType": "Microsoft.Communication.EmailDeliveryReportReceived"}]).encode()
CLOUD_EVENT = json.dumps({"id": "8a1f", "specversion": "1.0", "data": {}}).encode()
VALIDATION = json.dumps(
    [
        {
            "id": "2d00",
            "data": {
                "validationCode": "512d-38b6",
                "validationUrl": "https://rp-example.eventgrid.azure.net:553/validate",
            },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        }
    ]
).encode()
TRACKING = {"internet_message_id": "<c42.6f1d@mail.example.com>", "campaign_id": 7}
TRACKED = json.dumps([{"campaign_id": 7, "internet_message_id": "<c42.6f1d@mail.example.com>"}], separators=(",", ":"))

GRID = f"/eventgrid?code={EVENT_SECRET}"
BEARER = {"Authorization": f"Bearer {MESSAGE_SECRET}"}
VALIDATING = {"aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": "ACS"}
ASKING = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
JSON = {"content-type": "application/json"}
NOTHING = {"content-length": "0"}
NOT_FOUND = {"content-length": "9", "content-type": "text/plain; charset=utf-8"}
CLOSED = {"connection": "close", "content-type": "application/json"}


@dataclass(frozen=True)
class Row:
    """One request, and what is to come of it. Of the answer's headers, those named are compared."""

    title: str
    method: str = "POST"
    path: str = GRID
    sent: dict[str, str] = field(default_factory=dict)
    body: bytes = EVENT_GRID
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: NOTHING)
    answer: bytes | None = b""
    events: list[Entry] = field(default_factory=list)
    messages: list[Entry] = field(default_factory=list)

    def __str__(self) -> str:
        return self.title


def stored(body: bytes, subscription: bytes | None = None) -> list[Entry]:
    return [{b"body": body} if subscription is None else {b"body": body, b"subscription": subscription}]


def accepted(count: int) -> bytes:
    return json.dumps({"accepted": count}, separators=(",", ":")).encode()


EVENT_ROWS = [
    Row("an event is stored", events=stored(EVENT_GRID)),
    Row("listmonk's path is the same", path=f"/webhooks/service/azure?code={EVENT_SECRET}", events=stored(EVENT_GRID)),
    Row(
        "the subscription is kept",
        sent={"aeg-event-type": "Notification", "aeg-subscription-name": "ACS-ENGAGEMENT", "aeg-delivery-count": "0"},
        events=stored(EVENT_GRID, b"ACS-ENGAGEMENT"),
    ),
    Row(
        "Event Grid's content type",
        sent={"Content-Type": "application/json; charset=utf-8"},
        events=stored(EVENT_GRID),
    ),
    Row(
        "one CloudEvent",
        sent={"Content-Type": "application/cloudevents+json; charset=utf-8"},
        body=CLOUD_EVENT,
        events=stored(CLOUD_EVENT),
    ),
    Row(
        "a batch of CloudEvents",
        sent={"Content-Type": "application/cloudevents-batch+json; charset=utf-8"},
        body=b"[" + CLOUD_EVENT + b"," + CLOUD_EVENT + b"]",
        events=stored(b"[" + CLOUD_EVENT + b"," + CLOUD_EVENT + b"]"),
    ),
    Row("no content type is asked for", sent={"Content-Type": "text/plain"}, events=stored(EVENT_GRID)),
    Row("a body that is not JSON is the drain's", body=b"\xff\x00 not JSON", events=stored(b"\xff\x00 not JSON")),
    Row("an empty body is, too", body=b"", events=stored(b"")),
    Row("identity is no encoding", sent={"Content-Encoding": "Identity"}, events=stored(EVENT_GRID)),
    Row("the old secret is still good", path=f"/eventgrid?code={OLD_EVENT_SECRET}", events=stored(EVENT_GRID)),
    Row(
        "the secret may be in a header",
        path="/eventgrid",
        sent={"X-Attribution-Secret": EVENT_SECRET},
        events=stored(EVENT_GRID),
    ),
    Row(
        "one good proof is enough",
        path="/eventgrid?code=no-secret-of-ours-at-all",
        sent={"X-Attribution-Secret": EVENT_SECRET},
        events=stored(EVENT_GRID),
    ),
    Row("among other parameters", path=f"/eventgrid?a=1&code={EVENT_SECRET}&b=2", events=stored(EVENT_GRID)),
    Row("2 MiB is not too large", body=b"x" * 2 * 1024 * 1024, events=stored(b"x" * 2 * 1024 * 1024)),
]
HANDSHAKE_ROWS = [
    Row(
        "the code is sent back",
        sent=VALIDATING,
        body=VALIDATION,
        headers=JSON,
        answer=b'{"validationResponse":"512d-38b6"}',
    ),
    Row(
        "on listmonk's path, too",
        path=f"/webhooks/service/azure?code={EVENT_SECRET}",
        sent=VALIDATING,
        body=VALIDATION,
        headers=JSON,
        answer=b'{"validationResponse":"512d-38b6"}',
    ),
    Row(
        "not to a stranger",
        path="/eventgrid",
        sent=VALIDATING,
        body=VALIDATION,
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    Row(
        "what has no code may be events",
        sent=VALIDATING,
        body=EVENT_GRID,
        events=stored(EVENT_GRID, b"ACS"),
    ),
    Row(
        "and so may what comes along with one",
        sent=VALIDATING,
        body=VALIDATION[:-1] + b"," + EVENT_GRID[1:],
        events=stored(VALIDATION[:-1] + b"," + EVENT_GRID[1:], b"ACS"),
    ),
    Row(
        "beyond 64 KiB nothing is parsed",
        sent=VALIDATING,
        body=VALIDATION + b" " * 65536,
        events=stored(VALIDATION + b" " * 65536, b"ACS"),
    ),
    Row(
        "a deleted subscription, with whatever came along",
        sent={"aeg-event-type": "SubscriptionDeletion"},
        events=stored(EVENT_GRID),
    ),
    Row(
        "of somebody else",
        path="/eventgrid?code=no-secret-of-ours-at-all",
        sent={"aeg-event-type": "SubscriptionDeletion"},
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    *(
        Row(
            f"CloudEvents are granted on {path}",
            method="OPTIONS",
            path=path,
            sent=ASKING,
            body=b"",
            headers={
                "allow": "POST",
                "webhook-allowed-origin": "eventgrid.azure.net",
                "webhook-allowed-rate": "*",
                "content-length": "0",
            },
        )
        for path in ("/eventgrid", "/webhooks/service/azure", GRID)
    ),
]
REFUSED_ROWS = [
    Row("no secret", path="/eventgrid", status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row("an empty one", path="/eventgrid?code=", status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row("a wrong one", path="/eventgrid?code=wrong-secret-012345", status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row("half of one", path=GRID[:-1], status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row(
        "a wrong one that is not ASCII",
        path="/eventgrid",
        sent={"X-Attribution-Secret": "geheimnis-ä-ö-ü-0123456789"},
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    Row(
        "that of the other route",
        path=f"/eventgrid?code={MESSAGE_SECRET}",
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    Row("no such path", path="/nowhere", status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row("no redirect", path=f"/eventgrid/?code={EVENT_SECRET}", status=404, headers=NOT_FOUND, answer=b"Not Found"),
    Row("another method", method="PUT", status=405, headers={}, answer=None),
    Row(
        "a compressed body",
        sent={"Content-Encoding": "gzip"},
        status=415,
        headers=CLOSED,
        answer=b'{"error":"the body is compressed; send it as it is"}',
    ),
    Row(
        "a body over the limit",
        body=b"x" * (2 * 1024 * 1024 + 1),
        status=413,
        headers=CLOSED,
        answer=b'{"error":"the body is larger than this receiver takes"}',
    ),
    Row(
        "a stranger's body over the limit",
        path="/eventgrid",
        sent={"Content-Length": str(10**12)},
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
]
MESSAGE_ROWS = [
    Row(
        "one message",
        path="/messages",
        sent=BEARER,
        body=json.dumps(TRACKING).encode(),
        status=202,
        headers=JSON,
        answer=accepted(1),
        messages=[{b"body": TRACKED.encode()}],
    ),
    Row(
        "the secret in our own header",
        path="/messages",
        sent={"X-Attribution-Secret": MESSAGE_SECRET},
        body=json.dumps(TRACKING).encode(),
        status=202,
        headers=JSON,
        answer=accepted(1),
        messages=[{b"body": TRACKED.encode()}],
    ),
    Row(
        "an array",
        path="/messages",
        sent=BEARER,
        body=json.dumps([TRACKING, TRACKING]).encode(),
        status=202,
        headers=JSON,
        answer=accepted(2),
        messages=[{b"body": f"[{TRACKED[1:-1]},{TRACKED[1:-1]}]".encode()}],
    ),
    Row(
        "one a line",
        path="/messages",
        sent=BEARER,
        body=b"\n".join([json.dumps(TRACKING).encode()] * 3) + b"\n",
        status=202,
        headers=JSON,
        answer=accepted(3),
        messages=[{b"body": f"[{TRACKED[1:-1]},{TRACKED[1:-1]},{TRACKED[1:-1]}]".encode()}],
    ),
    Row(
        "an id in another spelling",
        path="/messages",
        sent=BEARER,
        body=json.dumps(TRACKING | {"internet_message_id": " c42.6f1d@Mail.Example.COM"}).encode(),
        status=202,
        headers=JSON,
        answer=accepted(1),
        messages=[{b"body": TRACKED.encode()}],
    ),
    Row("none at all", path="/messages", sent=BEARER, body=b"[]", status=202, headers=JSON, answer=accepted(0)),
    Row(
        "a bad item is named and nothing is stored",
        path="/messages",
        sent=BEARER,
        body=json.dumps([TRACKING, {"internet_message_id": "<a@b.example.com>", "campaign_id": 0}, "text"]).encode(),
        status=422,
        headers=JSON,
        answer=None,
    ),
    Row(
        "a message without a secret",
        path="/messages",
        body=json.dumps(TRACKING).encode(),
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    Row(
        "a message with that of the other route",
        path="/messages",
        sent={"Authorization": f"Bearer {EVENT_SECRET}"},
        body=json.dumps(TRACKING).encode(),
        status=404,
        headers=NOT_FOUND,
        answer=b"Not Found",
    ),
    Row(
        "a compressed message",
        path="/messages",
        sent=BEARER | {"Content-Encoding": "br"},
        status=415,
        headers=CLOSED,
        answer=None,
    ),
    Row(
        "messages over the limit",
        path="/messages",
        sent=BEARER,
        body=b"x" * (2 * 1024 * 1024 + 1),
        status=413,
        headers=CLOSED,
        answer=None,
    ),
]
PROBE_ROWS = [
    Row("alive", method="GET", path="/healthz", body=b""),
    Row("Redis is writable", method="GET", path="/readyz", body=b""),
    Row(
        "metrics",
        method="GET",
        path="/metrics",
        body=b"",
        headers={"content-type": "text/plain; version=1.0.0; charset=utf-8"},
        answer=None,
    ),
]


@pytest.mark.parametrize("row", EVENT_ROWS + HANDSHAKE_ROWS + REFUSED_ROWS + MESSAGE_ROWS + PROBE_ROWS, ids=str)
def test_row_of_the_receivers_table(row: Row, caller: Caller, redis_client: redis.Redis) -> None:
    answer = caller.send(row.method, row.path, row.sent, row.body)

    assert answer.status == row.status
    assert answer.headers | row.headers == answer.headers
    assert "server" not in answer.headers
    if row.answer is not None:
        assert answer.body == row.answer
    assert entries(redis_client, EVENTS) == row.events
    assert entries(redis_client, MESSAGES) == row.messages
