"""The second half of every transaction that parks, tracks or teaches: look again, now that it has committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.errors import Fault, fault_of, sqlstate_of
from db.models import MessageIds
from db.parking import Released, release
from db.results import Results
from tasks.patience import patiently

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def settle(engine: Engine, results: Results, ids: MessageIds, engagements: Sequence[int] = ()) -> int:
    """Release the events of the messages in ``ids``, and of those that the released reports teach; return how many.

    ``engagements`` are rows of views and clicks that were attributed and committed just now: what listmonk has counted
    natively in the meantime is not to be counted by them as well.

    Call it when the transaction that makes ``ids`` worth a look has committed, before it is acknowledged. Each round is
    a transaction of its own, for what it teaches must be committed before the next looks. Usually there is nothing to
    release, and the first round is the only one.
    """
    absorb_native(engine, results, engagements)
    released = 0
    while ids:

        def release_now(ids: MessageIds = ids) -> Released:
            with engine.begin() as conn:
                return release(conn, ids, results)

        result = release_or_leave(release_now, Released())
        absorb_native(engine, results, result.engagements)
        released += result.events
        ids = result.taught
    return released


def absorb_native(engine: Engine, results: Results, engagements: Sequence[int]) -> None:
    """Look for native rows that came while the transaction that attributed ``engagements`` was not committed yet."""

    def absorb() -> None:
        with engine.begin() as conn:
            results.absorb_native(conn, engagements)

    if engagements:
        patiently(absorb)


def release_or_leave(transaction: Callable[[], _Result], nothing: _Result) -> _Result:
    """Run a transaction that releases; if a value in the tables forbids it, say so and leave the events parked.

    They are committed as they are, and whatever led here (a batch, a sweep) is not to blame for them. What forbids it
    is mostly a campaign that listmonk deletes at this very moment: the next sweep will see that it is gone.
    """
    try:
        return patiently(transaction)
    except SQLAlchemyError as error:
        if fault_of(error) is not Fault.DATA:
            raise
        _log.error("events could not be released and stay parked: SQLSTATE %s", sqlstate_of(error))
        return nothing
