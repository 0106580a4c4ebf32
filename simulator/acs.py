"""Azure Communication Services: gives messages their ids, and makes the events of what happens to them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Literal

from simulator import wire
from simulator.links import Link
from simulator.truth import BOTH, Emitted, Id, Sent

#: What the mail readers of the world call themselves; some say nothing, some one word.
_USER_AGENTS: Final = (
    "",
    "Desktop",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)

#: What receiving servers answer, by the status that Azure makes of it, and the type of bounce that it is, if any. Azure
#: has words of its own where no server was asked.
_ANSWERS: Final[dict[str, tuple[tuple[str | None, Literal["hard", "soft", "complaint"] | None], ...]]] = {
    "Bounced": (
        ("550 5.1.1 The mailbox does not exist.", "hard"),
        ("452 4.2.2 The mailbox is full.", "soft"),
        (None, "hard"),
    ),
    "Failed": ((None, "soft"), ("512 5.1.2 There is no such domain.", "hard")),
    "Suppressed": ((None, "hard"),),
    "Quarantined": ((None, "soft"),),
    "FilteredSpam": (("554 5.7.1 The message looks like spam.", "complaint"),),
    "Throttled": (("451 4.7.0 Too many messages; try again later.", None),),
}

#: How an event can be beyond understanding, though its body is JSON. Azure sends none of these; proxies and people do.
MALFORMED: Final = (
    "text",
    "no id",
    "id of the wrong type",
    "NUL in the id",
    "no data",
    "data of the wrong type",
    "no time",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what the ledger says of it, and its bytes, the same however often it is sent."""

    truth: Emitted
    body: bytes


class Acs:
    """One ACS resource, drawing ids and spellings from ``rng``. The same draws give the same bytes."""

    def __init__(
        self, rng: Random, schema: wire.Schema, *, domain: str = "mail.example.com", drift: bool = True
    ) -> None:
        self._rng = rng
        self._schema = schema
        self._domain = domain
        self._drift = drift

    def send(self, *, campaign_id: int, subscriber_id: int | None, recipients: tuple[str, ...], at: datetime) -> Sent:
        """Accept a message. Its Message-ID is the mailer's own, of the shape that ACS keeps."""
        return Sent(
            internet_message_id=f"<c{campaign_id}.{self._rng.getrandbits(64):016x}@{self._domain}>",
            azure_message_id=self._uuid(),
            campaign_id=campaign_id,
            subscriber_id=subscriber_id,
            recipients=recipients,
            sent_at=at,
        )

    def view(self, message: Sent, *, at: datetime, ids: tuple[Id, ...] = BOTH) -> Event:
        """Report that the message was opened. Only ``ids`` are named: the Message-ID is missing now and then."""
        return self._engagement("view", message, at, ids, context="")

    def click(self, message: Sent, *, at: datetime, link: Link, ids: tuple[Id, ...] = BOTH) -> Event:
        """Report that a link of the message was followed."""
        return self._engagement("click", message, at, ids, context=link.url, link=link)

    def forward(self, message: Sent, *, at: datetime, ids: tuple[Id, ...] = BOTH) -> Event:
        """Report an engagement of a type that is not known yet. It is stored, and counts nowhere."""
        return self._engagement("forward", message, at, ids, context="")

    def deliver(
        self, message: Sent, *, recipient: str, status: str, attempted_at: datetime, reported_at: datetime
    ) -> Event:
        """Report how the delivery to one recipient ended, minutes after the attempt."""
        drift = self._draw()
        attempted_at = drift.round(attempted_at)
        answer, bounce = self._rng.choice(_ANSWERS.get(status, ((None, None),)))
        data = wire.delivery(
            status,
            at=attempted_at,
            azure_message_id=message.azure_message_id,
            internet_message_id=message.internet_message_id,
            recipient=recipient,
            answer=answer,
            drift=drift,
        )
        ids: tuple[Id, ...] = BOTH if "internetMessageId" in data else ("azure",)
        truth = Emitted(
            self._uuid(), "followed", status.lower(), message.internet_message_id, ids, attempted_at, bounce=bounce
        )
        return self._event(truth, wire.DELIVERY_REPORT, data, reported_at, drift)

    def ignored(self, *, at: datetime) -> Event:
        """Make an event of a kind that nobody asked for: an SMS came in."""
        truth = Emitted(self._uuid(), "ignored", "sms")
        data = {"messageId": self._uuid(), "from": "+15550100", "to": "+15550101", "message": "hello"}
        return self._event(truth, wire.FOREIGN, data, at, self._draw(), subject="phonenumber/15550101")

    def malformed(self, *, at: datetime, flaw: str | None = None) -> Event:
        """Make an event that cannot be understood; in its bytes is its ``event_id``, by which the oracle finds it."""
        flaw = flaw or self._rng.choice(MALFORMED)
        marker = f"malformed-{self._rng.getrandbits(128):032x}"
        drift = self._draw()
        data = wire.engagement(
            "view",
            at=at,
            azure_message_id=self._uuid(),
            internet_message_id=f"<{marker}@{self._domain}>",
            recipient="ada@example.net",
            drift=drift,
        )
        event: Any = wire.envelope(
            self._schema, event_id=marker, event_type=wire.ENGAGEMENT_REPORT, published_at=at, data=data, drift=drift
        )
        match flaw:
            case "text":
                event = marker
            case "no id":
                del event["id"]
            case "id of the wrong type":
                event["id"] = {"id": marker}
            case "NUL in the id":
                event["id"] = marker + "\0"
            case "no data":
                del event["data"]
            case "data of the wrong type":
                event["data"] = [marker]
            case "no time":
                time_keys = {"userActionTimestamp", "userActionTimeStamp"}
                event["data"] = {key: "yesterday" if key in time_keys else value for key, value in data.items()}
                event["time" if self._schema is wire.Schema.CLOUD_EVENTS else "eventTime"] = "yesterday"
        return Event(Emitted(marker, "malformed", flaw), wire.encode(event, drift))

    def poison(self) -> Event:
        """Make a malformed event that a process, told to, dies of: its bytes hold ``"poison-``."""
        marker = f"malformed-{self._rng.getrandbits(128):032x}"
        return Event(Emitted(marker, "malformed", "poison"), wire.encode({"id": marker, "is": "poison-"}, wire.PLAIN))

    def _engagement(
        self, kind: str, message: Sent, at: datetime, ids: tuple[Id, ...], *, context: str, link: Link | None = None
    ) -> Event:
        drift = self._draw()
        at = drift.round(at)
        data = wire.engagement(
            kind,
            at=at,
            azure_message_id=message.azure_message_id if "azure" in ids else None,
            internet_message_id=message.internet_message_id if "internet" in ids else None,
            recipient=message.recipients[0] if len(message.recipients) == 1 else "",
            context=context,
            user_agent=self._rng.choice(_USER_AGENTS),
            drift=drift,
        )
        truth = Emitted(
            self._uuid(),
            "followed",
            kind,
            message.internet_message_id,
            ids,
            at,
            link=link.counted_as if link else None,
            names_reader=link is not None and link.names_reader,
        )
        # Published within seconds of the action.
        published_at = at + timedelta(seconds=self._rng.uniform(0.2, 5))
        return self._event(truth, wire.ENGAGEMENT_REPORT, data, published_at, drift)

    def _event(
        self,
        truth: Emitted,
        event_type: str,
        data: dict[str, Any],
        published_at: datetime,
        drift: wire.Drift,
        subject: str | None = None,
    ) -> Event:
        event = wire.envelope(
            self._schema,
            event_id=truth.event_id,
            event_type=event_type,
            published_at=published_at,
            data=data,
            subject=subject,
            drift=drift,
        )
        return Event(truth, wire.encode(event, drift))

    def _draw(self) -> wire.Drift:
        return wire.Drift.draw(self._rng) if self._drift else wire.PLAIN

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
