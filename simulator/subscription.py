"""An Event Grid subscription of the webhook kind: where it delivers, in what shape, and what its requests look like."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import aiohttp
from yarl import URL

from simulator import wire
from simulator.wire import Schema

#: Who Event Grid says it is in the CloudEvents handshake and in every later request.
ORIGIN: Final = "eventgrid.azure.net"

_JSON: Final = "application/json; charset=utf-8"
_CLOUD_EVENT: Final = "application/cloudevents+json; charset=utf-8"
_CLOUD_EVENTS: Final = "application/cloudevents-batch+json; charset=utf-8"


class HandshakeRefused(Exception):
    """The receiver did not prove that it wants these events, so Event Grid would not create the subscription."""


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """What a person sets when creating the subscription.

    Args:
        secret: travels as ``?code=`` in the URL, or in the header ``secret_header`` if that is given.
        events_per_batch: 1 to 5000; 1 means that batching is off, as it is by default.
        batch_kilobytes: the preferred size of a batch, 1 to 1024. One larger event still goes, alone.
    """

    url: str
    secret: str | None = None
    secret_header: str | None = None
    name: str = "acs-engagement"
    schema: Schema = Schema.EVENT_GRID
    events_per_batch: int = 1
    batch_kilobytes: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.events_per_batch <= 5000:
            raise ValueError("a batch holds 1 to 5000 events")
        if not 1 <= self.batch_kilobytes <= 1024:
            raise ValueError("the preferred size of a batch is 1 to 1024 kilobytes")

    @cached_property
    def delivery_url(self) -> URL:
        """The whole URL, with its secret: keep it out of logs."""
        url = URL(self.url)
        if self.secret and not self.secret_header:
            return url.update_query(code=self.secret)
        return url

    def body(self, events: Sequence[bytes]) -> bytes:
        """Join serialised events to one request body: an array, but for the lone CloudEvent."""
        if self._lone(len(events)):
            return events[0]
        return b"[" + b",".join(events) + b"]"

    def headers(self, *, events: int, attempt: int) -> dict[str, str]:
        """Return the headers of a notification. The first attempt is 1; Event Grid's own count of it is 0."""
        if self.schema is Schema.EVENT_GRID:
            own = {"Content-Type": _JSON, "aeg-data-version": "1.0", "aeg-metadata-version": "1"}
        else:
            own = {
                "Content-Type": _CLOUD_EVENT if self._lone(events) else _CLOUD_EVENTS,
                "aeg-metadata-version": "1.0",
                "WebHook-Request-Origin": ORIGIN,
            }
        return {**self._headers("Notification"), **own, "aeg-delivery-count": str(attempt - 1)}

    def _lone(self, events: int) -> bool:
        return self.schema is Schema.CLOUD_EVENTS and events == 1 and self.events_per_batch == 1

    def _headers(self, event_type: str) -> dict[str, str]:
        headers = {"aeg-event-type": event_type, "aeg-subscription-name": self.name.upper()}
        if self.secret and self.secret_header:
            headers[self.secret_header] = self.secret
        return headers

    async def shake_hands(self, http: aiohttp.ClientSession) -> None:
        """Ask the receiver whether it wants the events, as on every creation and update of a subscription.

        Raises:
            HandshakeRefused: it does not, or says so in a way that Event Grid does not accept.
        """
        if self.schema is Schema.CLOUD_EVENTS:
            await self._ask_for_permission(http)
        else:
            await self._send_validation_code(http)

    async def _send_validation_code(self, http: aiohttp.ClientSession) -> None:
        code = str(uuid.uuid4())
        event = wire.validation_event(code, at=datetime.now(UTC))
        status, answer = await self._post(http, event, "SubscriptionValidation")
        if status != 200:
            raise HandshakeRefused(f"the receiver answered {status} to the validation event; only 200 will do")
        if not isinstance(answer, dict) or answer.get("validationResponse") != code:
            raise HandshakeRefused("the receiver's answer does not hold the validation code")

    async def _ask_for_permission(self, http: aiohttp.ClientSession) -> None:
        headers = {
            "WebHook-Request-Origin": ORIGIN,
            "WebHook-Request-Callback": f"https://rp-demo.eventgrid.example.net:553/eventsubscriptions/{self.name}/validate",
            "WebHook-Request-Rate": "120",
        }
        if self.secret and self.secret_header:
            headers[self.secret_header] = self.secret
        async with http.options(self.delivery_url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise HandshakeRefused(f"the receiver answered {response.status} to OPTIONS; only 200 will do")
            if response.headers.get("WebHook-Allowed-Origin") not in (ORIGIN, "*"):
                raise HandshakeRefused(f"WebHook-Allowed-Origin does not name {ORIGIN}")
            if not response.headers.get("WebHook-Allowed-Rate"):
                raise HandshakeRefused("WebHook-Allowed-Rate is missing, though a rate was asked for")

    async def announce_deletion(self, http: aiohttp.ClientSession) -> int:
        """Tell the receiver that the subscription was deleted, and return its status."""
        event = wire.deletion_event(self.name.upper(), at=datetime.now(UTC))
        status, _ = await self._post(http, event, "SubscriptionDeletion")
        return status

    async def _post(self, http: aiohttp.ClientSession, event: object, event_type: str) -> tuple[int, object]:
        headers = {
            **self._headers(event_type),
            "Content-Type": _JSON,
            "aeg-data-version": "1",
            "aeg-metadata-version": "1",
            "aeg-delivery-count": "0",
        }
        async with http.post(
            self.delivery_url, data=wire.encode([event]), headers=headers, allow_redirects=False
        ) as response:
            try:
                return response.status, await response.json(content_type=None)
            except ValueError:
                return response.status, None
