"""The accident, seeded: listmonk's database as the replaced system left it, one campaign's opens credited to another.

Campaign 64 had gone out to some readers and was cancelled; campaign 65 went out to everyone. The replaced system's
mailer made up an id for each mail, kept it as Azure's, and sent the mail with it as its `Message-ID`; but Azure's
events name another id of their own. Finding no mail by that, its handler credited the reader's most recently updated
campaign, which was the cancelled one. It wrote down the `Message-ID` with some of the mails, and with some of the
events; the bodies of all requests it kept.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from simulator import listmonk
from simulator.accident import NEW, OLD, SMALL, Accident, Size

__all__ = ["NEW", "OLD", "SCHEMA", "SMALL", "Accident", "Size", "install"]

SCHEMA: Final = """
CREATE TABLE azure_message_tracking (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL UNIQUE,
    campaign_id int NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    subscriber_id int NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE, smtp_server_uuid uuid,
    sent_at timestamptz DEFAULT now(), created_at timestamptz DEFAULT now(), internet_message_id text);
CREATE INDEX idx_tracking_internet_message_id ON azure_message_tracking (internet_message_id);
CREATE TABLE azure_engagement_events (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL,
    campaign_id int REFERENCES campaigns (id) ON DELETE CASCADE,
    subscriber_id int REFERENCES subscribers (id) ON DELETE CASCADE, engagement_type varchar(20) NOT NULL,
    engagement_context text, user_agent text, event_timestamp timestamptz NOT NULL,
    created_at timestamptz DEFAULT now(), internet_message_id text);
CREATE INDEX idx_engagement_internet_message_id ON azure_engagement_events (internet_message_id)
    WHERE internet_message_id IS NOT NULL;
CREATE TABLE azure_delivery_events (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL,
    campaign_id int REFERENCES campaigns (id) ON DELETE CASCADE,
    subscriber_id int REFERENCES subscribers (id) ON DELETE CASCADE, status varchar(50) NOT NULL, status_reason text,
    delivery_status_details text, event_timestamp timestamptz NOT NULL, created_at timestamptz DEFAULT now());
CREATE TABLE webhook_logs (
    id bigserial PRIMARY KEY, webhook_type varchar(50) NOT NULL, event_type varchar(100), request_headers jsonb,
    request_body text, response_status int, response_body text, processed bool DEFAULT false, error_message text,
    created_at timestamptz DEFAULT now());
"""

_BEGAN: Final = datetime(2026, 1, 8, 8, 0, tzinfo=UTC)
_TOPIC: Final = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/rg-demo"
    "/providers/microsoft.communication/communicationservices/acs-demo"
)
_SENDER: Final = "news@mail.example.com"
_OFFER: Final = "https://www.example.com/offer"
_DELIVERY: Final = "Microsoft.Communication.EmailDeliveryReportReceived"
_ENGAGEMENT: Final = "Microsoft.Communication.EmailEngagementTrackingReportReceived"
#: How far from an open a native row had to lie for the replaced handler to write one of its own.
_WINDOW: Final = timedelta(seconds=5)

_COLUMNS: Final = {
    "azure_message_tracking": "id azure_message_id campaign_id subscriber_id sent_at created_at internet_message_id",
    "azure_engagement_events": "id azure_message_id campaign_id subscriber_id engagement_type engagement_context"
    " user_agent event_timestamp created_at internet_message_id",
    "azure_delivery_events": "id azure_message_id campaign_id subscriber_id status status_reason"
    " event_timestamp created_at",
    "campaign_views": "id campaign_id subscriber_id created_at",
    "link_clicks": "id campaign_id link_id subscriber_id created_at",
    "bounces": "id subscriber_id campaign_id type source meta created_at",
    "webhook_logs": "id webhook_type event_type request_body response_status processed created_at",
}


@dataclass(frozen=True, slots=True)
class _Mail:
    campaign: int
    reader: int
    own_id: UUID
    sent_at: datetime

    @property
    def message_id(self) -> str:
        return f"<{self.own_id}@listmonk>"


def install(connection: psycopg.Connection[Any], size: Size = SMALL, *, seed: int = 65) -> Accident:
    """Make listmonk's tables and the replaced system's, full of the accident, on a connection in autocommit mode."""
    listmonk.install(connection, campaigns=NEW, subscribers=size.mails)
    for campaign, status, updated_at in (
        (OLD, "cancelled", _BEGAN + timedelta(days=1, hours=1)),
        (NEW, "running", _BEGAN + timedelta(days=1)),
    ):
        connection.execute(
            "UPDATE campaigns SET status = %s, updated_at = %s WHERE id = %s", [status, updated_at, campaign]
        )
    connection.execute(SCHEMA.encode())
    play = _Play(size, random.Random(seed), listmonk.link(connection, _OFFER))
    play.everything()
    with connection.transaction():
        for table, rows in play.tables.items():
            _copy(connection, table, rows)
    connection.execute("ANALYZE")
    return play.accident


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterable[Sequence[object]]) -> None:
    columns = ", ".join(_COLUMNS[table].split())
    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(
        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}".encode()  # noqa: S608
    )


class _Play:
    """Plays the mailer, the readers, Azure and the replaced handler, row by row."""

    def __init__(self, size: Size, rng: random.Random, link_id: int) -> None:
        self.size = size
        self.rng = rng
        self.link_id = link_id
        self.accident = Accident(size)
        self.tables: dict[str, list[Sequence[object]]] = {table: [] for table in _COLUMNS}
        self.clock = _BEGAN
        #: What the handler was sent and has yet to be logged: (arrived at, event type, body).
        self._requests: list[tuple[datetime, str, str]] = []
        self._batch: list[tuple[datetime, dict[str, Any]]] = []

    def everything(self) -> None:
        old = [self._send(OLD, reader, _BEGAN) for reader in range(1, self.size.old_mails + 1)]
        sent = _BEGAN + timedelta(days=1)
        new = [self._send(NEW, reader, sent) for reader in range(1, self.size.mails + 1)]
        for number in self.rng.sample(range(len(new)), self.size.with_id):
            row = list(self.tables["azure_message_tracking"][self.size.old_mails + number])
            row[-1] = new[number].message_id
            self.tables["azure_message_tracking"][self.size.old_mails + number] = row
        bounced = {mail.reader for mail in self.rng.sample(new[: self.size.old_mails], self.size.bounces)}
        for mail in new:
            self._report(mail, bounced=mail.reader in bounced)
        self._flush()
        self._engage(old, new, [mail for mail in new[: self.size.old_mails] if mail.reader not in bounced])
        self._noise()
        for number, (at, kind, body) in enumerate(sorted(self._requests, key=lambda each: each[0]), 1):
            service = "azure" if kind else "ses"
            self.tables["webhook_logs"].append((number, service, kind or None, body, 200, True, at))

    def _send(self, campaign: int, reader: int, at: datetime) -> _Mail:
        mail = _Mail(campaign, reader, self._uuid(), at + timedelta(milliseconds=40 * reader))
        rows = self.tables["azure_message_tracking"]
        rows.append((len(rows) + 1, mail.own_id, campaign, reader, mail.sent_at, mail.sent_at, None))
        return mail

    def _guess(self, reader: int) -> int:
        """Credit the reader's most recently updated campaign: 64 for whoever had it, for it was cancelled since."""
        return OLD if reader <= self.size.old_mails else NEW

    # Delivery reports, some dozen to a request.

    def _report(self, mail: _Mail, *, bounced: bool) -> None:
        at = mail.sent_at + timedelta(seconds=self.rng.uniform(1, 9))
        arrived = at + timedelta(seconds=self.rng.uniform(120, 300))
        azure_id = self._uuid()
        status = "Bounced" if bounced else "Delivered"
        data = {
            "sender": _SENDER,
            "recipient": f"reader{mail.reader}@example.net",
            "internetMessageId": mail.message_id,
            "messageId": str(azure_id),
            "status": status,
            "deliveryStatusDetails": {"statusMessage": "550 5.1.1 unknown" if bounced else "No error."},
            "deliveryAttemptTimestamp": at.isoformat(),
        }
        self._batch.append((arrived, self._event(_DELIVERY, mail.reader, azure_id, data, arrived)))
        if len(self._batch) == 12:
            self._flush()
        credited = self._guess(mail.reader)
        rows = self.tables["azure_delivery_events"]
        reason = "550 5.1.1 unknown" if bounced else None
        rows.append((len(rows) + 1, azure_id, credited, mail.reader, status, reason, at, arrived))
        self.accident.deliveries[len(rows)] = mail.campaign
        if bounced:
            bounces = self.tables["bounces"]
            meta = json.dumps({"status": status})
            bounces.append((len(bounces) + 1, mail.reader, credited, "hard", "azure", meta, at))
            self.accident.bounces[credited] += 1
            self.accident.true_bounces[mail.campaign] += 1

    def _flush(self) -> None:
        if self._batch:
            arrived = max(at for at, _ in self._batch)
            self._requests.append((arrived, _DELIVERY, json.dumps([event for _, event in self._batch])))
            self._batch.clear()

    # Opens and clicks.

    def _engage(self, old: list[_Mail], new: list[_Mail], both: list[_Mail]) -> None:
        size, both = self.size, self.rng.sample(both, len(both))
        only = self.rng.sample(new[self.size.old_mails :], len(new) - self.size.old_mails)
        readers = iter(both)
        for number in range(size.views):
            self._act(next(readers), "view", times=2 if number < size.redelivered else 1)
        for mail in self.rng.sample(both, size.clicks):
            self._act(mail, "click")
        for _ in range(size.twice_counted_views):
            mail = next(readers)
            self._native("campaign_views", NEW, mail.reader, self._act(mail, "view", twice=True) - timedelta(seconds=1))
        for _ in range(size.uncounted_views):
            mail = next(readers)
            self._native(
                "campaign_views", OLD, mail.reader, self._act(mail, "view", counted=False) - timedelta(seconds=3)
            )
        for _ in range(size.inexact_views):
            self._act(next(readers), "view", off_by=timedelta(seconds=2))
        for _ in range(size.unknown_views):
            self._act(next(readers), "view", known=False)
        for _ in range(size.unknown_clicks):
            self._act(next(readers), "click", known=False)
        for _ in range(size.homeless_views):
            self._act(next(readers), "view", homeless=True)
        for mail in self.rng.sample(old, size.old_views):
            self._act(mail, "view")
        for mail in only[: size.right_views]:
            self._act(mail, "view")
        for mail in only[: size.right_clicks]:
            self._act(mail, "click")
        for table, campaign, count in (
            ("campaign_views", OLD, size.native_old_views - size.uncounted_views + size.stray_views),
            ("campaign_views", NEW, size.native_new_views),
            ("link_clicks", OLD, size.native_old_clicks),
            ("link_clicks", NEW, size.native_new_clicks),
        ):
            for _ in range(count):
                self._native(table, campaign, self.rng.choice(new[: size.old_mails]).reader, self._tick())

    def _act(
        self,
        mail: _Mail,
        kind: str,
        *,
        times: int = 1,
        known: bool = True,
        counted: bool = True,
        twice: bool = False,
        homeless: bool = False,
        off_by: timedelta = timedelta(0),
    ) -> datetime:
        """Have a reader open or click, Azure report it, and the handler write it down; return when it happened."""
        at = self._tick()
        azure_id = self._uuid()
        url = _OFFER if kind == "click" else ""
        agent = "Mozilla/5.0"
        data: dict[str, Any] = {
            "sender": _SENDER,
            "recipient": f"reader{mail.reader}@example.net",
            "messageId": str(azure_id),
            "userActionTimestamp": at.isoformat(),
            "engagementContext": url,
            "userAgent": agent,
            "engagementType": kind,
        }
        if known:
            data["internetMessageId"] = mail.message_id
        event = self._event(_ENGAGEMENT, mail.reader, azure_id, data, at)
        credited = None if homeless else self._guess(mail.reader)
        rows = self.tables["azure_engagement_events"]
        # Only its last version wrote the id down with the event.
        written = mail.message_id if known and self.rng.random() < 0.5 else None
        for time in range(times):
            arrived = at + timedelta(seconds=2 + 30 * time, microseconds=self.rng.randrange(1_000_000))
            self._requests.append((arrived, _ENGAGEMENT, json.dumps([event])))
            reader = None if homeless else mail.reader
            rows.append((len(rows) + 1, azure_id, credited, reader, kind, url, agent, at, arrived, written))
            self.accident.engagements[len(rows)] = mail.campaign if known else None
        if counted and credited is not None:
            provable = known and not off_by
            self._count(kind, credited, mail, at + off_by, provable=provable, twice=twice)
        elif homeless:
            self.accident.true_views[mail.campaign] += 1  # released by its id, and counted as any open is
        return at

    def _count(self, kind: str, credited: int, mail: _Mail, at: datetime, *, provable: bool, twice: bool) -> None:
        if kind == "view":
            views = self.tables["campaign_views"]
            views.append((len(views) + 1, credited, mail.reader, at))
        else:
            clicks = self.tables["link_clicks"]
            clicks.append((len(clicks) + 1, credited, self.link_id, mail.reader, at))
        now, true = self._tallies(kind)
        now[credited] += 1
        if not twice:
            true[mail.campaign if provable else credited] += 1

    def _native(self, table: str, campaign: int, reader: int, at: datetime) -> None:
        rows = self.tables[table]
        row = (len(rows) + 1, campaign, reader, at)
        rows.append(row if table == "campaign_views" else (*row[:2], self.link_id, *row[2:]))
        for tally in self._tallies("view" if table == "campaign_views" else "click"):
            tally[campaign] += 1

    def _tallies(self, kind: str) -> tuple[Counter[int], Counter[int]]:
        accident = self.accident
        return (accident.views, accident.true_views) if kind == "view" else (accident.clicks, accident.true_clicks)

    # What else there was.

    def _noise(self) -> None:
        bodies: list[Callable[[], tuple[str, str]]] = [
            lambda: ("", json.dumps({"Type": "Notification", "Message": "{}"})),
            lambda: (_DELIVERY, '[{"id":'),
            lambda: (_DELIVERY, ""),
            lambda: (_ENGAGEMENT, "[]"),
            lambda: (_ENGAGEMENT, json.dumps([{"id": "x", "eventType": _ENGAGEMENT, "topic": _TOPIC, "data": {}}])),
        ]
        for make in bodies * 4:
            self._requests.append((self._tick(), *make()))

    def _event(self, kind: str, reader: int, azure_id: UUID, data: dict[str, Any], at: datetime) -> dict[str, Any]:
        return {
            "id": str(self._uuid()),
            "topic": _TOPIC,
            "subject": f"sender/{_SENDER}/message/{azure_id}",
            "data": data,
            "eventType": kind,
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": (at + timedelta(seconds=1)).isoformat(),
        }

    def _tick(self) -> datetime:
        """Return an instant of its own, further from every other than any window reaches."""
        if self.clock == _BEGAN:
            self.clock = _BEGAN + timedelta(days=1, hours=2)
        self.clock += 4 * _WINDOW + timedelta(microseconds=self.rng.randrange(1_000_000))
        return self.clock

    def _uuid(self) -> UUID:
        return UUID(int=self.rng.getrandbits(128), version=4)
