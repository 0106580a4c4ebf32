"""Where the fuzzer begins: the hostile corpus, and what it has found before."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.hostile.case import Added, Bytes, Http
from tests.hostile.corpus import CORPUS
from tests.tasks.payloads import body_of, cloud_event, delivery, engagement

#: Larger seeds only slow the fuzzer down: what is special about them is their size.
LARGEST_SEED: Final = 4096
#: The properties that bodies of every size are tried with.
_OF_ANY_SIZE: Final = ("events", "trackings")
#: Inputs that once broke a property, one a file, under the property's name. Each is tried by every test run.
FOUND: Final = Path(__file__).with_name("found")

#: What the fuzzer would hardly spell by chance, escaped as libFuzzer wants it.
WORDS: Final = (
    *(
        "Microsoft.Communication.EmailEngagementTrackingReportReceived",
        "Microsoft.Communication.EmailDeliveryReportReceived",
    ),
    *("id", "topic", "source", "eventType", "type", "eventTime", "time", "data", "messageId", "internetMessageId"),
    *(
        "userActionTimestamp",
        "deliveryAttemptTimestamp",
        "engagementType",
        "engagement",
        "engagementContext",
        "userAgent",
    ),
    *("status", "recipient", "deliveryStatusDetails", "statusMessage", "X-Listmonk-Campaign", "xListmonkSubscriberID"),
    *("campaign_id", "internet_message_id", "azure_message_id", "subscriber_id", "sent_at", "recipient_domain"),
    *(
        "null",
        "true",
        "1e400",
        "\\\\u0000",
        "\\\\ud800",
        "\\xff",
        "\\x00",
        "/link/",
        "/subscription/",
        "unsubscribe",
        "mailto:",
    ),
    *("2026-01-10T10:26:40.1234567Z", "+00:00", "5b1e3c44-0000-4000-8000-0000000000aa", "@example.com", "@example.net"),
)

_LINK: Final = "/".join(f"0000000{n}-0000-4000-8000-000000000000" for n in (1, 2, 3))
_MESSAGE_IDS: Final = (
    "<c42.6f1d@mail.example.com>",
    "C42@Mail.EXAMPLE.com",
    " <a@b> ",
    '<"a b"@[::1]>',
    "<a@b@c>",
    "<>",
    "@",
)
_URLS: Final = (
    "https://www.example.com/offer?utm_source=x&email=ada%40example.net#top",
    f"https://news.example.com/link/{_LINK}",
    "https://news.example.com/subscription/12345678-1234-4123-8123-123456789012/12345678-1234-4123-8123-123456789012",
    "www.example.com:8080/unsubscribe;jsessionid=1",
    "mailto:list@example.com?subject=unsubscribe",
    "//[::1]:80/%zz/ada@example.net/logo@2x.png",
    "HTTP://User:Pass@Example.COM/?subscriber=1&&amp;uid=2",
)
_GOOD: Final = (
    body_of(engagement("e1"), delivery("d1")),
    body_of(engagement("e1", userActionTimestamp=..., userActionTimeStamp="2026-01-10T10:26:40.1234567Z")),
    body_of(delivery("d1", messageId=..., MESSAGEID="5b1e3c44-0000-4000-8000-0000000000aa", xListmonkCampaignID=7)),
    body_of(cloud_event(engagement("e1")), cloud_event(delivery("d1", deliveryStatusDetails="550 5.1.1"))),
)


def seeds(name: str) -> dict[str, Bytes]:
    """Return the inputs that a property begins with, by their names."""
    if name == "message-id":
        return {text: text.encode() for text in _MESSAGE_IDS} | _found(name)
    if name == "url":
        return {text: text.encode() for text in _URLS} | _found(name)
    kind = "message" if name == "trackings" else "event"
    bodies = {case.name: _body(case.sent) for case in CORPUS.values() if case.kind == kind}
    fitting = {
        case: body for case, body in bodies.items() if body is not None and (name in _OF_ANY_SIZE or is_small(body))
    }
    return {f"good-{number}": body for number, body in enumerate(_GOOD)} | fitting | _found(name)


def is_small(seed: Bytes) -> bool:
    """Tell whether a seed is of a size that the fuzzer should vary."""
    return isinstance(seed, bytes) and len(seed) <= LARGEST_SEED


def _body(sent: object) -> Bytes | None:
    if isinstance(sent, Http):
        return sent.body
    return sent.fields.get(b"body", b"") if isinstance(sent, Added) else None


def _found(name: str) -> dict[str, Bytes]:
    return {path.name: path.read_bytes() for path in sorted((FOUND / name).glob("*"))}
