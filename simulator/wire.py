"""What Event Grid puts on the wire: envelopes, the two kinds of report, and every spelling that was seen to vary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any, Final, Self

import msgspec
from azure.eventgrid import SystemEventNames

DELIVERY_REPORT: Final = SystemEventNames.AcsEmailDeliveryReportReceivedEventName.value
ENGAGEMENT_REPORT: Final = SystemEventNames.AcsEmailEngagementTrackingReportReceivedEventName.value
VALIDATION: Final = SystemEventNames.EventGridSubscriptionValidationEventName.value
DELETION: Final = SystemEventNames.EventGridSubscriptionDeletedEventName.value
#: An event that a subscription without a filter also brings, and that is none of our business.
FOREIGN: Final = SystemEventNames.AcsSmsReceivedEventName.value

TOPIC: Final = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-demo"
    "/providers/Microsoft.Communication/communicationServices/acs-demo"
)
SENDER: Final = "news@mail.example.com"

_ENCODE = msgspec.json.Encoder().encode


class Schema(StrEnum):
    """The two envelopes in which a subscription may have its events delivered."""

    EVENT_GRID = "eventgrid"
    CLOUD_EVENTS = "cloudevents"


@dataclass(frozen=True, slots=True)
class Drift:
    """The spellings that one event uses. By default the commonest on the wire; each other was seen or documented."""

    #: ``…TimeStamp``, as Microsoft's page has it, in place of the wire's ``…Timestamp``.
    capital_time_key: bool = False
    #: Times inside ``data`` with 7 fractional digits and ``Z`` in place of 2 digits and ``+00:00``.
    seven_digits: bool = False
    #: ``+`` written as ``\u002B``.
    escaped_plus: bool = False
    #: ``View``, ``Click`` and ``delivered`` in place of ``view``, ``click`` and ``Delivered``.
    other_case: bool = False
    #: The topic's provider and group in lower case, as on the wire, in place of the documented capitals.
    lower_topic: bool = True
    #: ``DeliveryStatusDetails`` as plain text in place of an object.
    details_as_text: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Self:
        """Draw each spelling on its own, the rare ones rarely."""
        return cls(
            capital_time_key=rng.random() < 0.3,
            seven_digits=rng.random() < 0.3,
            escaped_plus=rng.random() < 0.3,
            other_case=rng.random() < 0.3,
            lower_topic=rng.random() < 0.8,
            details_as_text=rng.random() < 0.1,
        )

    def round(self, at: datetime) -> datetime:
        """Return ``at`` as precisely as this spelling can say it."""
        return at if self.seven_digits else at.replace(microsecond=at.microsecond // 10_000 * 10_000)


PLAIN: Final = Drift()


def seven_digits(at: datetime) -> str:
    """Write ``at`` as Azure does in envelopes: UTC, 7 fractional digits, ``Z``. The 7th is below our precision."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}7Z"


def _time(at: datetime, drift: Drift) -> str:
    if drift.seven_digits:
        return seven_digits(at)
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 10_000:02d}+00:00"


def engagement(
    kind: str,
    *,
    at: datetime,
    azure_message_id: str | None,
    internet_message_id: str | None,
    recipient: str,
    context: str = "",
    user_agent: str = "",
    drift: Drift = PLAIN,
) -> dict[str, Any]:
    """Build the ``data`` of an engagement report. ``kind`` is ``view`` or ``click``, or one that is new.

    An id that is None is absent, as it is now and then. ``recipient`` is empty when the message went to more than one
    person: the report then cannot be tied to any of them.
    """
    return {
        "sender": SENDER,
        "recipient": recipient,
        **_ids(azure_message_id, internet_message_id),
        "userActionTimeStamp" if drift.capital_time_key else "userActionTimestamp": _time(at, drift),
        "engagementContext": context,
        "userAgent": user_agent,
        "engagementType": kind.capitalize() if drift.other_case else kind,
    }


def delivery(
    status: str,
    *,
    at: datetime,
    azure_message_id: str | None,
    internet_message_id: str | None,
    recipient: str,
    answer: str | None = None,
    drift: Drift = PLAIN,
) -> dict[str, Any]:
    """Build the ``data`` of a delivery report. ``answer`` is what the receiving server said, if it said something.

    A ``Suppressed`` mail never left Azure: its report names neither a Message-ID nor a receiving server.
    """
    suppressed = status == "Suppressed"
    message = answer or ("No error." if status == "Delivered" else f"The message was {status.lower()}.")
    details: dict[str, Any] = {"statusMessage": message}
    if not suppressed:
        details["recipientMailServerHostName"] = "mx1." + recipient.partition("@")[2]
    return {
        "sender": SENDER,
        "recipient": recipient,
        **_ids(azure_message_id, None if suppressed else internet_message_id),
        "status": status.lower() if drift.other_case else status,
        **({"DeliveryStatusDetails": message} if drift.details_as_text else {"deliveryStatusDetails": details}),
        "deliveryAttemptTimeStamp" if drift.capital_time_key else "deliveryAttemptTimestamp": _time(at, drift),
    }


def _ids(azure_message_id: str | None, internet_message_id: str | None) -> dict[str, str]:
    ids = {}
    if internet_message_id is not None:
        ids["internetMessageId"] = internet_message_id
    if azure_message_id is not None:
        ids["messageId"] = azure_message_id
    return ids


def envelope(
    schema: Schema,
    *,
    event_id: str,
    event_type: str,
    published_at: datetime,
    data: Any,
    subject: str | None = None,
    drift: Drift = PLAIN,
) -> dict[str, Any]:
    """Wrap ``data`` in the schema's envelope. ``data`` is the same in both."""
    if subject is None:
        subject = f"sender/{SENDER}/message/{data.get('messageId', '')}"
    topic = TOPIC.lower() if drift.lower_topic else TOPIC
    if schema is Schema.CLOUD_EVENTS:
        return {
            "id": event_id,
            "source": topic,
            "subject": subject,
            "data": data,
            "type": event_type,
            "time": seven_digits(published_at),
            "specversion": "1.0",
        }
    return {
        "id": event_id,
        "topic": topic,
        "subject": subject,
        "data": data,
        "eventType": event_type,
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "eventTime": seven_digits(published_at),
    }


def encode(event: Any, drift: Drift = PLAIN) -> bytes:
    """Serialise one event. A retry and a redelivery send these very bytes again."""
    body = _ENCODE(event)
    # JSON has no bare plus sign outside strings but in exponents, which no event of ours has.
    return body.replace(b"+", rb"\u002B") if drift.escaped_plus else body


def validation_event(code: str, *, at: datetime) -> dict[str, Any]:
    """Build the event by which Event Grid asks a webhook of its own schema whether it wants the events.

    ``validationUrl`` is there as in the real one; a receiver that fetches it fails (nothing listens).
    """
    topic = "/subscriptions/00000000-0000-0000-0000-000000000000"
    return {
        "id": code,
        "topic": topic,
        "subject": "",
        "data": {
            "validationCode": code,
            "validationUrl": f"https://rp-demo.eventgrid.example.net:553/eventsubscriptions/acs-demo/validate?id={code}",
        },
        "eventType": VALIDATION,
        "eventTime": seven_digits(at),
        "metadataVersion": "1",
        "dataVersion": "1",
    }


def deletion_event(subscription: str, *, at: datetime) -> dict[str, Any]:
    """Build the event that tells a webhook its subscription is gone."""
    return {
        "id": f"deleted-{subscription}",
        "topic": TOPIC,
        "subject": "",
        "data": {"eventSubscriptionId": f"{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions/{subscription}"},
        "eventType": DELETION,
        "eventTime": seven_digits(at),
        "metadataVersion": "1",
        "dataVersion": "2",
    }
