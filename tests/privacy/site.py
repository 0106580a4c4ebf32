"""One installation, what readers do in it, and everything that is stored of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
import redis
from sqlalchemy import text

from db.journal import ENGAGEMENTS, Journal
from db.outbox import take
from db.runs import finish_run, start_run
from simulator import listmonk as fake
from tasks.archiving import unpack
from tasks.context import Context, make_context
from tasks.counting import count
from tasks.privacy.cutting_out import parts_of
from tests.dump import dump
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import drain, push_events, push_messages
from worker.settings import WorkerSettings

KEY = "0123456789abcdef0123456789abcdef"
SHARED = "<shared@mail.example.com>"
LOGS = (
    "CREATE TABLE webhook_logs (id bigserial PRIMARY KEY, webhook_type text, request_body text,"
    " created_at timestamptz DEFAULT now())"
)


def address_of(reader: int) -> str:
    return f"reader{reader}@example.net"


def azure_of(reader: int, number: int) -> str:
    return str(UUID(int=(0x5B1E3C44_0000_4000_8000 << 48) + reader * 1000 + number))


def ids_of(reader: int, number: int) -> dict[str, Any]:
    """Return both ids of a reader's message."""
    return {"internet_message_id": f"<r{reader}.{number}@mail.example.com>", "messageId": azure_of(reader, number)}


@dataclass
class Site:
    ctx: Context
    client: redis.Redis
    listmonk: psycopg.Connection[Any] | None

    def run(self, statement: str, **parameters: Any) -> list[Any]:
        with self.ctx.engine.begin() as conn:
            done = conn.execute(text(statement), parameters)
            return list(done.all()) if done.returns_rows else []

    def drain(self) -> None:
        drain(self.ctx)

    def events_of(self, reader: int) -> list[dict[str, Any]]:
        """Return what Azure reports of a reader, in every state that an event may come to."""
        to = {"recipient": address_of(reader).replace("r", "R", 1)}
        encoded = quote(address_of(reader), safe="")
        names = f"reader{reader}"
        return [
            delivery(f"{names} delivered", **ids_of(reader, 1), **to, userAgent=address_of(reader)),
            delivery(
                f"{names} bounced", **ids_of(reader, 2), **to, status="Bounced",
                deliveryStatusDetails={"statusMessage": f"550 5.1.1 <{address_of(reader).upper()}>: user unknown"},
            ),
            engagement(f"{names} opened", **ids_of(reader, 1), **to, engagementType="view", engagementContext=""),
            engagement(f"{names} clicked", **ids_of(reader, 1), **to,
                       engagementContext=f"https://www.example.com/?email={encoded}"),
            engagement(f"{names} of a link", **ids_of(reader, 1), **to, engagementContext=self._link(reader, reader)),
            engagement(f"{names} of a neighbour's", **ids_of(reader, 1), **to,
                       engagementContext=self._link(reader + 1, reader + 1)),
            engagement(f"{names} parked", **ids_of(reader, 3), **to),
            engagement(f"{names} expired", **ids_of(reader, 4), **to),
            delivery(f"{names} of a shared mail", internet_message_id=SHARED, messageId=azure_of(0, 1), **to),
        ]  # fmt: skip

    def _link(self, campaign: int, reader: int) -> str:
        named = (fake.uuid_of("link", "x"), fake.uuid_of("campaign", campaign), fake.uuid_of("subscriber", reader))
        return "https://news.example.com/link/" + "/".join(map(str, named))

    def bad_of(self, reader: int) -> list[bytes]:
        """Return what comes of a reader and cannot be read."""
        broken = engagement(
            f"reader{reader} broken", **ids_of(reader, 1), recipient=address_of(reader), engagementType=7
        )
        return [body_of(broken), body_of(delivery("cut off", recipient=address_of(reader)))[:-200]]

    def live(self, *readers: int) -> None:
        """Have these readers be written to and act, mixed with each other wherever bodies hold several events."""
        push_messages(self.client, {"internet_message_id": SHARED, "campaign_id": 9, "sent_at": "2026-01-10T08:00:00Z"})
        for reader in readers:
            push_messages(
                self.client,
                *({**_tracked(reader, number), "campaign_id": reader, "subscriber_id": reader} for number in (1, 2)),
            )
            push_messages(self.client, {"email": address_of(reader), "campaign_id": "none"})
        lives = [self.events_of(reader) for reader in readers]
        push_events(self.client, *(body_of(*together) for together in zip(*lives, strict=True)))
        push_events(self.client, *(body_of(*life[:3]) for life in lives))  # again, and in company of his own
        push_events(self.client, *(bad for reader in readers for bad in self.bad_of(reader)))
        self.drain()
        for table in ("azure_engagement_events", "azure_delivery_events"):
            self.run(f"UPDATE {table} SET state = 'expired', expired_at = now() WHERE event_id LIKE '%expired'")
        self._be_told(readers)
        self._be_repaired()
        if self.listmonk:
            for reader in readers:
                fake.view(self.listmonk, reader, reader)
                fake.click(self.listmonk, reader, reader, fake.link(self.listmonk, "https://www.example.com/native"))
        count(self.ctx)

    def _be_told(self, readers: tuple[int, ...]) -> None:
        """Have batches for the webhook, and a log of the replaced system's."""
        with self.ctx.engine.begin() as conn:
            take(conn, batch=9, lease=timedelta(seconds=1))
        self.run(LOGS)
        bodies = [body_of(*(self.events_of(reader)[0] for reader in readers))]
        bodies += [body_of(self.events_of(reader)[1]) for reader in readers]
        for body in bodies:
            self.run(
                "INSERT INTO webhook_logs (webhook_type, request_body) VALUES ('azure', :body)", body=body.decode()
            )

    def _be_repaired(self) -> None:
        """Have each click journalled as if its reader had been corrected."""
        with self.ctx.engine.begin() as conn:
            journal = Journal(start_run(conn, "repair", {}))
            ids = [row.id for row in conn.execute(text("SELECT id FROM azure_engagement_events ORDER BY id"))]
            journal.watch(conn, ENGAGEMENTS, ids)
            conn.execute(text("UPDATE azure_engagement_events SET attempts = attempts + 1"))
            journal.write(conn, ENGAGEMENTS, "repaired")
            finish_run(conn, journal.run_id, {})

    def stored(self) -> dict[str, list[str]]:
        """Return everything: each row of each table as text, and each event and tracking in the archive."""
        everything = dump(self.ctx.engine)
        everything.pop("attribution_archive")
        parts: list[bytes] = []
        for row in self.run("SELECT kind, content FROM attribution_archive ORDER BY id"):
            parts += [part for body in unpack(bytes(row.content)) for part in parts_of(row.kind, body.body)]
        everything["archive"] = sorted(part.decode() for part in parts)
        bodies = self.run("SELECT body FROM attribution_quarantine ORDER BY id")
        everything["quarantined"] = [bytes(row.body).decode() for row in bodies]
        return everything

    def traces(self, reader: int, *, in_listmonk: bool = False) -> list[tuple[str, str]]:
        """Return every row that a reader can be told from, with its table; listmonk's own subscriber is no trace."""
        hashed = self.ctx.recipients.hash_of(address_of(reader)) or "no hash"
        names = [hashed, str(fake.uuid_of("subscriber", reader)), f"<r{reader}.", f"r{reader}.1@", f"r{reader}.2@"]
        names += [azure_of(reader, number) for number in range(1, 5)]
        names += [
            address_of(reader),
            quote(address_of(reader), safe="").lower(),
            address_of(reader).replace("@", "\\u0040"),
        ]
        people = self.run("SELECT CAST(md5(CAST(:reader AS text)) AS text) AS person", reader=reader)
        names += [str(UUID(people[0].person))]
        found = [
            (table, row)
            for table, rows in self.stored().items()
            if in_listmonk or table != "subscribers"
            for row in rows
            if any(name in row.lower() for name in names)
        ]
        columns = self.run(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name LIKE '%subscriber_id'"
        )
        for table, column in columns:
            rows = self.run(f"SELECT CAST(t AS text) AS row FROM {table} AS t WHERE {column} = :reader", reader=reader)
            found += [(f"{table}.{column}", row.row) for row in rows]
        return found


def _tracked(reader: int, number: int) -> dict[str, Any]:
    ids = ids_of(reader, number)
    return {"internet_message_id": ids["internet_message_id"], "azure_message_id": ids["messageId"],
            "recipient_domain": address_of(reader)}  # fmt: skip


@contextmanager
def open_site(database_url: str, redis_url: str, *, listmonk: bool) -> Iterator[Site]:
    overrides: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "recipient_key": KEY,
        "webhook_url": "http://127.0.0.1:9/hook",
        "webhook_secrets": ("whsec_" + "A" * 32,),
        "claim_after": 0.001,
    }
    context = make_context(WorkerSettings(**overrides))
    context.consumer.create_group()
    connection = psycopg.connect(database_url, autocommit=True) if listmonk else None
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        site = Site(context, client, connection)
        yield site
    if connection:
        connection.close()
    site.ctx.engine.dispose()
