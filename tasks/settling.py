"""The second half of every transaction that parks, tracks or teaches: look again, now that it has committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.errors import Fault, fault_of, sqlstate_of
from db.models import MessageIds
from db.parking import Released, release
from db.results import Results
from tasks.patience import patiently

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

#: Most ids that one transaction releases by, and most events that each of its statements releases. A million events may
#: wait for the messages of one call, or for a single message: in one statement they would take longer than any may.
IDS: Final = 5000
EVENTS: Final = 10_000


def settle(engine: Engine, results: Results, ids: MessageIds, engagements: Sequence[int] = ()) -> int:
    """Release the events of the messages in ``ids``, and of those that the released reports teach; return how many.

    ``engagements`` are rows of views and clicks that were attributed and committed just now: what listmonk has counted
    natively in the meantime is not to be counted by them as well.

    Call it when the transaction that makes ``ids`` worth a look has committed, before it is acknowledged. It works in
    pieces, each a transaction of its own, and what a piece teaches is committed before it is looked for. Usually there
    is one piece, and nothing to release. Whoever is killed on the way does it again, and has the pieces left to do.
    """
    absorb_native(engine, results, engagements)
    released = 0
    for piece in ids.pieces(IDS):
        for result in _release(engine, results, piece):
            released += result.events + settle(engine, results, result.taught, result.engagements)
    return released


def _release(engine: Engine, results: Results, ids: MessageIds) -> Iterator[Released]:
    """Release in one transaction or, of many events, in several.

    If a value forbids it, in halves, so that what cannot be released waits alone.
    """

    def release_now() -> Released:
        with engine.begin() as conn:
            return release(conn, ids, results, limit=EVENTS)

    more = bool(ids)
    while more:
        released = release_or_leave(release_now)
        if released is not None:
            yield released
            more = released.more
        elif len(ids) == 1:
            _log.error("the events of one message cannot be released; they stay parked")
            return
        else:
            for half in ids.pieces((len(ids) + 1) // 2):
                yield from _release(engine, results, half)
            return


def absorb_native(engine: Engine, results: Results, engagements: Sequence[int]) -> None:
    """Look for native rows that came while the transaction that attributed ``engagements`` was not committed yet."""

    def absorb() -> None:
        with engine.begin() as conn:
            results.absorb_native(conn, engagements)

    if engagements:
        patiently(absorb)


def release_or_leave(transaction: Callable[[], _Result]) -> _Result | None:
    """Run a transaction that releases; if a value in the tables forbids it, say so, leave the events, and return None.

    They are committed as they are, and whatever led here (a batch, a sweep) is not to blame for them. What forbids it
    is mostly a campaign that listmonk deletes at this very moment: the next sweep will see that it is gone.
    """
    try:
        return patiently(transaction)
    except SQLAlchemyError as error:
        if fault_of(error) is not Fault.DATA:
            raise
        _log.warning("events could not be released together (SQLSTATE %s)", sqlstate_of(error))
        return None
