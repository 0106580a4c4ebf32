"""The outbox: what the user's webhook is to be told, from the transaction that attributes it until it is taken.

An event waits in `attribution_outbox` until a sender cuts it into a batch. A batch is a row of `attribution_webhooks`,
has one id over all its attempts, and is leased to one sender at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError

from db.sql import load_queries

#: While the other side is away, one new batch in this time finds out whether it still is.
PAUSE = timedelta(minutes=1)

_QUERIES = load_queries("outbox.sql")


class Failure(StrEnum):
    """What a failed attempt says."""

    #: The other side could not be reached, or can take nothing now. Any batch would have fared alike.
    AWAY = "away"
    #: The other side does not want this batch; it may want others.
    REFUSED = "refused"
    #: The other side wants nothing any more (410). Nothing is sent until an operator retries or drops that batch.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A batch that is leased to its sender. ``attempts`` counts the one that begins now.

    ``events`` are what is told of each, by name, in the order in which they happened; never empty.
    """

    id: UUID
    created_at: datetime
    attempts: int
    leased_until: datetime
    events: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many batches, and how many events in them and unsent, will never be told."""

    batches: int
    events: int


def enqueue(conn: Connection, *, engagements: Sequence[int], deliveries: Sequence[int]) -> None:
    """Have the webhook told of these rows of the two event tables, if the caller's transaction commits.

    Call it once for each event, in the transaction that attributes it, and only if a webhook is configured.
    """
    if engagements or deliveries:
        parameters = {"engagements": "\n".join(map(str, engagements)), "deliveries": "\n".join(map(str, deliveries))}
        conn.execute(_QUERIES["enqueue"], parameters)


@contextmanager
def only_sender(engine: Engine) -> Iterator[bool]:
    """Tell whether no other sender is at work in this database, and keep others from starting until the end.

    Holds a connection, outside any transaction. If that breaks another sender may start, which does no harm.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        is_only = bool(conn.execute(_QUERIES["become_only_sender"]).scalar_one())
        try:
            yield is_only
        finally:
            if is_only:
                try:
                    conn.execute(_QUERIES["cease_to_be_only_sender"])
                except DBAPIError:
                    conn.invalidate()


def take(conn: Connection, *, batch: int, lease: timedelta) -> Webhook | None:
    """Lease the next batch to the caller: one that is due, else one newly cut from up to ``batch`` unsent events.

    Commit before you send. Until ``lease`` is over nobody else is given this batch. Events that are gone, deleted with
    their campaign or subscriber, are left out, and a batch of which none is left is dropped. None: nothing to send now.
    """
    parameters = {"batch": batch, "lease": lease, "pause": PAUSE}
    while row := (
        conn.execute(_QUERIES["lease_due"], {"lease": lease}).one_or_none()
        or conn.execute(_QUERIES["cut_and_lease"], parameters).one_or_none()
    ):
        rows = [*conn.execute(_QUERIES["load_deliveries"], {"id": row.id})]
        rows += conn.execute(_QUERIES["load_engagements"], {"id": row.id})
        if rows:
            rows.sort(key=lambda event: (event.occurred_at, event.event_key))
            return Webhook(
                row.id, row.created_at, row.attempts, row.leased_until, [dict(each._mapping) for each in rows]
            )
        conn.execute(_QUERIES["remove"], {"id": row.id})
    return None


def note_delivered(conn: Connection, webhook: Webhook) -> None:
    """Forget a batch that the other side has taken, and bring forward what had found it away."""
    conn.execute(_QUERIES["remove"], {"id": webhook.id})
    conn.execute(_QUERIES["bring_forward"])


def note_failed(conn: Connection, webhook: Webhook, *, failure: Failure, error: str, wait: timedelta | None) -> bool:
    """Note a failed attempt and its ``error``, which must not repeat anything confidential; return whether it counted.

    The next attempt is due after ``wait`` and up to a tenth more; with None the batch is given up, and kept. It does
    not count when the lease has run out, or the batch was dropped, meanwhile.
    """
    parameters = {
        "id": webhook.id,
        "leased_until": webhook.leased_until,
        "failure": failure.value,
        "error": error,
        "wait": None if wait is None else wait.total_seconds(),
    }
    return conn.execute(_QUERIES["postpone"], parameters).rowcount == 1


def count_unsent(conn: Connection) -> Row[Any]:
    """Return ``events`` that are in no batch yet, and since when the oldest has been attributed (``oldest_at``)."""
    return conn.execute(_QUERIES["count_unsent"]).one()


def count_webhooks(conn: Connection) -> Sequence[Row[Any]]:
    """Return batches, events, oldest_at and is_gone of each state there is: waiting first, then given up."""
    return conn.execute(_QUERIES["count_webhooks"]).all()


def list_webhooks(conn: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Return up to ``limit`` batches, oldest first."""
    return conn.execute(_QUERIES["list_webhooks"], {"limit": limit}).all()


def retry_now(conn: Connection, ids: Sequence[UUID] | None) -> int:
    """Make batches due at once, waiting or given up, with all their attempts before them; None is every one.

    One that is being sent at this moment is due when that is over. Returns how many.
    """
    return conn.execute(_QUERIES["retry_now"], {"ids": None if ids is None else list(ids)}).rowcount


def drop(conn: Connection, ids: Sequence[UUID] | None, *, state: str | None = None, unsent: bool = False) -> Dropped:
    """Forget batches that were not delivered: those of ``ids``, or with None every one, in any state or in ``state``.

    ``unsent`` forgets the events that are in no batch yet, too.
    """
    parameters = {"ids": None if ids is None else list(ids), "state": state}
    dropped = conn.execute(_QUERIES["drop"], parameters).one()
    uncut = conn.execute(_QUERIES["drop_unsent"]).rowcount if unsent else 0
    return Dropped(dropped.batches, int(dropped.events) + uncut)
