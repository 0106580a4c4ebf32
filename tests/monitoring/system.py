"""The system that is watched: receiver, worker and beat as processes, and what Event Grid and mailers send it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.acceptance.conftest import EVENT_SECRET, MESSAGE_SECRET, StartProgram
from tests.acceptance.programs import Program, free_port
from tests.tasks.payloads import body_of, delivery, engagement
from tests.waiting import eventually

#: As large as a body may be, in bytes: the least that the receiver lets itself be told.
BODY_LIMIT = 2 * 1024 * 1024


@dataclass(frozen=True)
class System:
    """The processes, and where their metrics are."""

    receiver: Program
    worker: Program
    beat: Program
    receiver_port: int
    worker_port: int

    def post(self, path: str, body: bytes, secret: str) -> int:
        """Post to the receiver and return its answer's status."""
        url = f"http://127.0.0.1:{self.receiver_port}/{path}"
        return httpx.post(url, content=body, headers={"x-attribution-secret": secret}, timeout=30).status_code

    def tell(self, *events: dict[str, Any]) -> None:
        """Post events as Event Grid would."""
        assert self.post("eventgrid", body_of(*events), EVENT_SECRET) == 200

    def track(self, *message_ids: str, campaign: int = 1, subscriber: int = 1) -> None:
        """Track messages, as a mailer does that has just sent them."""
        trackings = [
            {
                "internet_message_id": message_id,
                "campaign_id": campaign,
                "subscriber_id": subscriber,
                "sent_at": datetime.now(UTC).isoformat(),
            }
            for message_id in message_ids
        ]
        assert self.post("messages", json.dumps(trackings).encode(), MESSAGE_SECRET) == 202

    def shake_hands(self) -> None:
        """Ask what Event Grid asks before it calls."""
        url = f"http://127.0.0.1:{self.receiver_port}/eventgrid"
        httpx.options(url, headers={"webhook-request-origin": "eventgrid.azure.net"}, timeout=30).raise_for_status()


def start_system(start: StartProgram, database_url: str, redis_url: str, **settings: Any) -> System:
    """Start all three, and return when they are ready."""
    receiver_port, worker_port = free_port(), free_port()
    environment = {
        "attribution_database_url": database_url,
        "attribution_redis_url": redis_url,
        "attribution_event_secrets": EVENT_SECRET,
        "attribution_message_secrets": MESSAGE_SECRET,
        "attribution_port": receiver_port,
        "attribution_body_limit_bytes": BODY_LIMIT,
        "attribution_metrics_port": worker_port,
        "no_proxy": "127.0.0.1",
        **settings,
    }
    receiver = start("receiver", **environment)
    worker = start("worker", **environment)
    beat = start("beat", **environment)
    system = System(receiver, worker, beat, receiver_port, worker_port)

    def is_ready() -> None:
        assert "ready." in worker.log, worker.log[-2000:]
        try:
            ready = httpx.get(f"http://127.0.0.1:{receiver_port}/readyz").status_code
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error
        assert ready == 200, receiver.log[-2000:]

    eventually(is_ready, within=45, every=0.1)
    return system


def act(kind: str, message_id: str | None, **data: Any) -> dict[str, Any]:
    """Return an engagement event of just now."""
    now = datetime.now(UTC).isoformat()
    return engagement(internet_message_id=message_id, engagementType=kind, userActionTimestamp=now, **data)


def bounce(message_id: str) -> dict[str, Any]:
    """Return a delivery report of just now that is a bounce."""
    now = datetime.now(UTC).isoformat()
    return delivery(internet_message_id=message_id, status="Bounced", deliveryAttemptTimestamp=now)


def new_message_id() -> str:
    """Return a Message-ID that nobody has used."""
    return f"<{uuid.uuid4().hex}@mail.example.com>"
