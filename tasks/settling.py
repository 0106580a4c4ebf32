"""The second half of every transaction that parks, tracks or teaches: look again, now that it has committed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.errors import Fault, fault_of, sqlstate_of
from db.models import MessageIds
from db.parking import Released, release
from tasks.patience import patiently

_log = logging.getLogger(__name__)


def settle(engine: Engine, ids: MessageIds) -> int:
    """Release the events of the messages in ``ids``, and of those that the released reports teach; return how many.

    Call it when the transaction that makes ``ids`` worth a look has committed, before it is acknowledged. Each round is
    a transaction of its own, for what it teaches must be committed before the next looks. Usually there is nothing to
    release, and the first round is the only one.
    """
    released = 0
    while ids:

        def release_now(ids: MessageIds = ids) -> Released:
            with engine.begin() as conn:
                return release(conn, ids)

        result = release_or_leave(release_now)
        released += result.events
        ids = result.taught
    return released


def release_or_leave(transaction: Callable[[], Released]) -> Released:
    """Run a transaction that releases; if a value in the tables forbids it, say so and leave the events parked.

    They are committed as they are, and whatever led here (a batch, a sweep) is not to blame for them.
    """
    try:
        return patiently(transaction)
    except SQLAlchemyError as error:
        if fault_of(error) is not Fault.DATA:
            raise
        _log.error("events could not be released and stay parked: SQLSTATE %s", sqlstate_of(error))
        return Released()
