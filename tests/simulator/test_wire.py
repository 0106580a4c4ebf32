"""The simulator's events have the very shapes that were seen on Event Grid's wire."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest

from simulator import wire
from simulator.acs import MALFORMED, Acs
from simulator.truth import Sent
from simulator.wire import Drift, Schema

AT = datetime(2026, 1, 10, 10, 26, 40, 123456, tzinfo=UTC)
MESSAGE = Sent(
    internet_message_id="<c42.6f1d@mail.example.com>",
    azure_message_id="5b1e3c44-0000-4000-8000-0000000000aa",
    campaign_id=42,
    subscriber_id=7,
    recipients=("ada@example.net",),
    sent_at=AT,
)


def engagement(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "kind": "click",
        "at": AT,
        "azure_message_id": MESSAGE.azure_message_id,
        "internet_message_id": MESSAGE.internet_message_id,
        "recipient": "ada@example.net",
        "context": "https://www.example.com/offer",
        "user_agent": "Desktop",
    }
    return wire.engagement(**(arguments | changes))


def delivery(status: str = "Delivered", **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "at": AT,
        "azure_message_id": MESSAGE.azure_message_id,
        "internet_message_id": MESSAGE.internet_message_id,
        "recipient": "ada@example.net",
    }
    return wire.delivery(status, **(arguments | changes))


def test_delivery_report_of_the_event_grid_schema_is_the_captured_one() -> None:
    event = wire.envelope(
        Schema.EVENT_GRID,
        event_id="8a1f0c52-0000-4000-8000-000000000001",
        event_type=wire.DELIVERY_REPORT,
        published_at=AT,
        data=delivery(),
    )
    assert event == {
        "id": "8a1f0c52-0000-4000-8000-000000000001",
        "topic": "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/rg-demo"
        "/providers/microsoft.communication/communicationservices/acs-demo",
        "subject": "sender/news@mail.example.com/message/5b1e3c44-0000-4000-8000-0000000000aa",
        "data": {
            "sender": "news@mail.example.com",
            "recipient": "ada@example.net",
            "internetMessageId": "<c42.6f1d@mail.example.com>",
            "messageId": "5b1e3c44-0000-4000-8000-0000000000aa",
            "status": "Delivered",
            "deliveryStatusDetails": {
                "statusMessage": "No error.",
                "recipientMailServerHostName": "mx1.example.net",
            },
            "deliveryAttemptTimestamp": "2026-01-10T10:26:40.12+00:00",
        },
        "eventType": "Microsoft.Communication.EmailDeliveryReportReceived",
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "eventTime": "2026-01-10T10:26:40.1234567Z",
    }


def test_engagement_report_of_the_cloud_events_schema_is_the_documented_one() -> None:
    event = wire.envelope(
        Schema.CLOUD_EVENTS,
        event_id="8a1f0c52-0000-4000-8000-000000000002",
        event_type=wire.ENGAGEMENT_REPORT,
        published_at=AT,
        data=engagement(),
        drift=Drift(lower_topic=False),
    )
    assert event == {
        "id": "8a1f0c52-0000-4000-8000-000000000002",
        "source": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-demo"
        "/providers/Microsoft.Communication/communicationServices/acs-demo",
        "subject": "sender/news@mail.example.com/message/5b1e3c44-0000-4000-8000-0000000000aa",
        "data": {
            "sender": "news@mail.example.com",
            "recipient": "ada@example.net",
            "messageId": "5b1e3c44-0000-4000-8000-0000000000aa",
            "internetMessageId": "<c42.6f1d@mail.example.com>",
            "userActionTimestamp": "2026-01-10T10:26:40.12+00:00",
            "engagementContext": "https://www.example.com/offer",
            "userAgent": "Desktop",
            "engagementType": "click",
        },
        "type": "Microsoft.Communication.EmailEngagementTrackingReportReceived",
        "time": "2026-01-10T10:26:40.1234567Z",
        "specversion": "1.0",
    }


def test_each_drift_changes_its_own_spelling_and_nothing_else() -> None:
    plain_click, plain_delivery = engagement(), delivery()

    capital = engagement(drift=Drift(capital_time_key=True))
    assert capital.pop("userActionTimeStamp") == plain_click["userActionTimestamp"]
    assert capital.items() <= plain_click.items()

    seven = delivery(drift=Drift(seven_digits=True))
    assert seven == plain_delivery | {"deliveryAttemptTimestamp": "2026-01-10T10:26:40.1234567Z"}

    assert engagement(drift=Drift(other_case=True)) == plain_click | {"engagementType": "Click"}
    assert delivery(drift=Drift(other_case=True)) == plain_delivery | {"status": "delivered"}

    text = delivery(drift=Drift(details_as_text=True))
    assert text.pop("DeliveryStatusDetails") == "No error."
    assert text.items() <= plain_delivery.items()


def test_escaped_plus_is_the_same_json() -> None:
    drift = Drift(escaped_plus=True)
    plain, escaped = wire.encode(delivery()), wire.encode(delivery(), drift)
    assert rb"10:26:40.12\u002B00:00" in escaped
    assert b"+" not in escaped
    assert msgspec.json.decode(escaped) == msgspec.json.decode(plain)


def test_suppressed_report_names_neither_message_id_nor_receiving_server() -> None:
    report = delivery("Suppressed")
    assert "internetMessageId" not in report
    assert report["messageId"] == MESSAGE.azure_message_id
    assert report["deliveryStatusDetails"] == {"statusMessage": "The message was suppressed."}


def test_absent_message_id_is_absent_not_null() -> None:
    assert "internetMessageId" not in engagement(internet_message_id=None)


def test_engagement_of_a_message_to_several_people_names_no_recipient() -> None:
    several = msgspec.structs.replace(MESSAGE, recipients=("ada@example.net", "bob@example.net"))
    event = Acs(Random(1), Schema.EVENT_GRID).view(several, at=AT)
    assert msgspec.json.decode(event.body)["data"]["recipient"] == ""


def test_truth_of_a_time_is_as_precise_as_its_spelling() -> None:
    acs = Acs(Random(1), Schema.EVENT_GRID)
    for _ in range(50):
        event = acs.view(MESSAGE, at=AT)
        data = {key.casefold(): value for key, value in msgspec.json.decode(event.body)["data"].items()}
        assert datetime.fromisoformat(data["useractiontimestamp"]) == event.truth.at


@pytest.mark.parametrize("schema", Schema)
@pytest.mark.parametrize("flaw", MALFORMED)
def test_malformed_event_is_json_that_holds_its_marker(schema: Schema, flaw: str) -> None:
    event = Acs(Random(1), schema).malformed(at=AT, flaw=flaw)
    msgspec.json.decode(event.body)
    assert event.truth.event_id.encode() in event.body
    assert (event.truth.fate, event.truth.what) == ("malformed", flaw)
