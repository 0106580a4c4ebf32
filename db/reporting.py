"""Results for people who ask: what a campaign brought, whose events they were, and how well they are proven.

Everything here reads our own tables and changes nothing. Where ``since`` is given, an event counts by when it happened,
and a message by when it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from db.sql import load_queries

#: Rows of a stream that are in memory at once.
STREAMED_ROWS = 1000

_QUERIES = load_queries("reporting.sql")


def read_only(conn: Connection) -> None:
    """Have all that this transaction reads be of one moment, and let it pause. It must not have read anything yet."""
    conn.execute(_QUERIES["read_one_snapshot"])
    conn.execute(_QUERIES["allow_pauses"])


@contextmanager
def by_index(conn: Connection) -> Iterator[None]:
    """Have what is executed within be looked up by index. A stream is planned when it begins, which is enough.

    For queries that find one campaign, person, message or event; not to be nested.
    """
    conn.execute(_QUERIES["look_up_by_index"])
    yield
    conn.execute(_QUERIES["plan_as_usual"])


def campaign_stats(
    conn: Connection, *, campaigns: Sequence[int] | None = None, since: datetime | None = None
) -> Sequence[Row[Any]]:
    """Return the results of ``campaigns``, or of every campaign, by number: the columns of the view `campaign_stats`.

    A campaign of which neither a message nor an event is known is left out.
    """
    query = "campaign_stats"
    parameters: dict[str, object] = {"campaigns": None if campaigns is None else list(campaigns)}
    if since is not None:
        query = "campaign_stats_since"
        parameters["since"] = since
    # Without a time the view reads what is kept; if it has to count a campaign from its rows, then by index.
    with by_index(conn) if since is None or campaigns else nullcontext():
        return conn.execute(_QUERIES[query], parameters).all()


def stream_events(
    conn: Connection,
    *,
    campaign: int | None = None,
    subscriber: int | None = None,
    message: str | UUID | None = None,
    since: datetime | None = None,
) -> Iterator[Row[Any]]:
    """Yield the events that fit all that is given, oldest first, `STREAMED_ROWS` in memory at a time.

    ``message`` is either id of a message: a Message-ID in our spelling, or Azure's own. Events that wait are among
    those of a message; they have no campaign and no subscriber yet.
    """
    internet, azure = (None, message) if isinstance(message, UUID) else (message, None)
    internet_ids, azure_ids = {internet} - {None}, {azure} - {None}
    if message is not None:
        for known in conn.execute(
            _QUERIES["ids_of_message"], {"internet_message_id": internet, "azure_message_id": azure}
        ):
            internet_ids |= {known.internet_message_id} - {None}
            azure_ids |= {known.azure_message_id} - {None}
    parameters = {
        "campaign": campaign,
        "subscriber": subscriber,
        "internet_message_ids": None if message is None else list(internet_ids),
        "azure_message_ids": None if message is None else list(azure_ids),
        "since": since,
    }
    with by_index(conn):
        rows = conn.execute(_QUERIES["stream_events"], parameters, execution_options={"yield_per": STREAMED_ROWS})
    with rows:
        yield from rows


def count_by_key(conn: Connection, *, since: datetime | None = None) -> Sequence[Row[Any]]:
    """Return state, matched_by, engagements and deliveries: every event once, strongest key first."""
    return conn.execute(_QUERIES["count_by_key"], {"since": since}).all()


def count_alike(conn: Connection, *, since: datetime | None = None) -> int:
    """Return how many engagement reports are like another one but for their event id: one act told twice, it may be."""
    alike: int = conn.execute(_QUERIES["count_alike"], {"since": since}).scalar_one()
    return alike


def measure_accuracy(conn: Connection, *, since: datetime | None = None) -> Row[Any]:
    """Return how many clicks there are, how many carry two keys, and how many of these are agreeing and disagreeing."""
    return conn.execute(_QUERIES["measure_accuracy"], {"since": since}).one()


def list_disagreements(conn: Connection, *, limit: int, since: datetime | None = None) -> Sequence[Row[Any]]:
    """Return up to ``limit`` incidents of keys that disagree, newest first, with what either side says."""
    return conn.execute(_QUERIES["list_disagreements"], {"since": since, "limit": limit}).all()
