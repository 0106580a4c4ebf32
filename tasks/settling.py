"""The second half of every transaction that parks, tracks or teaches: look again, now that it has committed."""

from __future__ import annotations

import logging

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

        try:
            result = patiently(release_now)
        except SQLAlchemyError as error:
            if fault_of(error) is not Fault.DATA:
                raise
            # What is to be released is committed and stays parked; the batch that led here is not to blame.
            _log.error("events could not be released and stay parked: SQLSTATE %s", sqlstate_of(error))
            break
        released += result.events
        ids = result.taught
    return released
