"""Requests as Event Grid sends them, to be varied by a test. Every id and address is made up."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from tasks.wire import DELIVERY_REPORT, ENGAGEMENT_REPORT

SOURCE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/rg-demo"
    "/providers/microsoft.communication/communicationservices/acs-demo"
)
AZURE_MESSAGE_ID = "5b1e3c44-0000-4000-8000-0000000000aa"
RECEIVED_AT = datetime(2026, 1, 10, 10, 30, tzinfo=UTC)


def engagement(
    event_id: str | None = None, *, internet_message_id: str | None = "<c42@mail.example.com>", **data: Any
) -> dict[str, Any]:
    """Return a click in Event Grid's own envelope. A key of ``data`` given as ``...`` is left out."""
    fields = {
        "sender": "news@mail.example.com",
        "recipient": "ada@example.net",
        "messageId": AZURE_MESSAGE_ID,
        "internetMessageId": internet_message_id,
        "userActionTimestamp": "2026-01-10T10:26:40.12+00:00",
        "engagementContext": "https://www.example.com/offer",
        "userAgent": "Mozilla/5.0",
        "engagementType": "click",
    } | data
    return _envelope(ENGAGEMENT_REPORT, event_id, fields)


def delivery(
    event_id: str | None = None, *, internet_message_id: str | None = "<c42@mail.example.com>", **data: Any
) -> dict[str, Any]:
    """Return a delivery report in Event Grid's own envelope."""
    fields = {
        "sender": "news@mail.example.com",
        "recipient": "ada@example.net",
        "internetMessageId": internet_message_id,
        "messageId": AZURE_MESSAGE_ID,
        "status": "Delivered",
        "deliveryStatusDetails": {"statusMessage": "No error.", "recipientMailServerHostName": "mx1.example.net"},
        "deliveryAttemptTimestamp": "2026-01-10T10:26:32.99+00:00",
    } | data
    return _envelope(DELIVERY_REPORT, event_id, fields)


def cloud_event(event: dict[str, Any]) -> dict[str, Any]:
    """Return the same event in a CloudEvents envelope."""
    return {
        "id": event["id"],
        "source": event["topic"],
        "subject": event["subject"],
        "data": event["data"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "specversion": "1.0",
    }


def body_of(*events: object) -> bytes:
    """Return a request body: a JSON array."""
    return json.dumps(list(events)).encode()


def _envelope(event_type: str, event_id: str | None, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event_id or str(uuid.uuid4()),
        "topic": SOURCE,
        "subject": f"sender/news@mail.example.com/message/{AZURE_MESSAGE_ID}",
        "data": {key: value for key, value in data.items() if value is not ...},
        "eventType": event_type,
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "eventTime": "2026-01-10T10:28:55.2532364Z",
    }
