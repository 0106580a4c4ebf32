"""Erasure: what a search has found of a person is removed, in small transactions, and nothing brings it back.

First it is remembered by hashes, so that from then on no drain records any of it. Then what hangs on the events goes,
then the events, and the messages last: they tell which events are his, so that an erasure which was interrupted finds
the rest when it is run again. And as something may have come meanwhile, the search begins anew, until it finds nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine

from db.counting import count_changes
from db.erased import remember_erased
from db.erasing import (
    asking,
    keep_archived,
    keep_logged,
    keep_quarantined,
    lock_body,
    make_nameless,
    newest_transaction,
    oldest_transaction,
    remove,
    remove_people,
    shorten_webhooks,
    strike_texts,
)
from db.journal import BOUNCES, CLICKS, DELIVERIES, ENGAGEMENTS, TRACKING, VIEWS
from db.people import ARCHIVE, INCIDENTS, JOURNAL, LOGS, OUTBOX, PEOPLE, QUARANTINE, WEBHOOKS
from tasks.archiving import pack
from tasks.eventgrid import content_key
from tasks.patience import patiently
from tasks.privacy.searching import EVENTS, Found, Search, unpacked
from tasks.privacy.witness import Witness
from worker.errors import AttributionError

#: Rows removed in one transaction.
BATCH: Final = 500
#: How often the search begins anew. More is needed only while he goes on acting.
ROUNDS: Final = 5
#: How long transactions that were open before are waited for.
PATIENCE: Final = timedelta(seconds=60)
#: The order in which rows go; bodies go before, and PEOPLE with the events that they are counted by.
_ORDER: Final = (JOURNAL, INCIDENTS, OUTBOX, BOUNCES, DELIVERIES, ENGAGEMENTS)


class StillOpen(AttributionError):
    """A transaction that is older than the erasure is still open, and may write something of him.

    What was found is erased. Find it in pg_stat_activity, let it end, and run this again.
    """


class StillComing(AttributionError):
    """Something of him was there again each time that everything had been erased. Run this again later."""


@dataclass
class Erasure:
    """What was erased so far: how many rows of each table."""

    removed: Counter[str] = field(default_factory=Counter)
    unreadable: list[int] = field(default_factory=list)


def erase(search: Search, erasure: Erasure, *, going_on: bool = False) -> Iterator[int]:
    """Erase whoever ``search`` looks for, adding to ``erasure``; yield as `Search.run` does.

    Interrupted at any point, it may be run again, and does the rest. ``going_on``: it does; what was under way when
    it was interrupted may be still, and to find nothing means nothing before it has ended.

    Raises:
        StillOpen, StillComing: what was found is erased, and something may be left.
        sqlalchemy.exc.SQLAlchemyError: PostgreSQL did not get well in time.
    """
    if going_on:
        _wait_for_older(search.engine)
    for _ in range(ROUNDS):
        found = Found()
        yield from search.run(found)
        erasure.unreadable = found.unreadable
        if not found:
            _count_anew(search.engine)
            return
        _do(search.engine, remember_erased, found.keys)
        _erase_found(search, found, erasure.removed)
        _wait_for_older(search.engine)
    raise StillComing


def _erase_found(search: Search, found: Found, removed: Counter[str]) -> None:
    engine, witness = search.engine, search.witness()
    rows, subscribers = found.rows, sorted(search.person.subscribers)

    def each(table: str, change: Callable[..., int], *args: Any, of: dict[str, list[Any]] = rows, **named: Any) -> None:
        ids = of.get(table, [])
        for start in range(0, len(ids), BATCH):
            removed[table] += _do(engine, change, *args, ids[start : start + BATCH], **named)

    for table in (ARCHIVE, QUARANTINE, LOGS):
        for row_id in rows.get(table, ()):
            _do(engine, _rewrite, search, witness, table, row_id)
            removed[table] += 1
    for table in EVENTS:
        each(table, strike_texts, table, of=found.named, strike=_striking(witness), subscribers=subscribers)
    each(WEBHOOKS, shorten_webhooks, engagements=rows[ENGAGEMENTS], deliveries=rows[DELIVERIES])
    for table in (VIEWS, CLICKS):
        each(table, make_nameless, table)
    for table in _ORDER:
        each(table, remove, table)
    each(PEOPLE, remove_people)
    each(TRACKING, remove, TRACKING)


def _rewrite(conn: Connection, search: Search, witness: Witness, table: str, row_id: int) -> None:
    """Write a row with bodies anew without what is his; remove it if nothing is left."""
    row = lock_body(conn, table, row_id)
    if row is None:
        return
    left = [
        body._replace(body=rest)
        for body in unpacked(table, row)
        if (rest := witness.take_out(row.kind, body.body)) is not None
    ]
    if not left:
        remove(conn, table, [row_id])
    elif table == ARCHIVE:
        keep_archived(conn, row_id, pack(left))
    elif table == QUARANTINE:
        keep_quarantined(conn, row_id, left[0].body, content_key(row.kind, left[0].body))
    else:
        keep_logged(conn, row_id, left[0].body)


def _striking(witness: Witness) -> Callable[[str], str]:
    return lambda text: witness.strike(text.encode()).decode()


def _wait_for_older(engine: Engine) -> None:
    """Wait until whatever was under way has ended: it may not have known that this is erased.

    Whoever has written something is known by his number; who has only asked so far, and writes next, by his lock.
    """
    newest, asked = _do(engine, newest_transaction), _do(engine, asking)
    until = time.monotonic() + PATIENCE.total_seconds()
    while _do(engine, oldest_transaction) < newest or not asked.isdisjoint(_do(engine, asking)):
        if time.monotonic() > until:
            raise StillOpen
        time.sleep(0.1)


def _count_anew(engine: Engine) -> None:
    """Have campaigns counted anew without him, so that not even a hash of him is left among their readers."""
    until = time.monotonic() + PATIENCE.total_seconds()
    while time.monotonic() < until:
        counted = patiently(lambda: count_changes(engine))
        if counted.busy:
            time.sleep(0.1)
        elif not (counted.changes or counted.recounts):
            return


def _do(engine: Engine, change: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Do something in a transaction of its own, tried again while PostgreSQL fails for a reason that passes."""

    def transaction() -> Any:
        with engine.begin() as conn:
            return change(conn, *args, **named)

    return patiently(transaction)
