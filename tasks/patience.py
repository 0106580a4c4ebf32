"""How long, and how, a transaction is tried again while PostgreSQL is unwell."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from tenacity import Retrying, before_sleep_log, retry_if_exception, wait_random_exponential

from db.errors import QUERY_CANCELED, Fault, fault_of, sqlstate_of

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

#: How long one batch waits for PostgreSQL to get well before its entries go back to the stream. Well below the idle
#: time after which another process would claim them.
PATIENCE = timedelta(seconds=20)


_retrying = Retrying(
    retry=retry_if_exception(lambda error: isinstance(error, Exception) and fault_of(error) is Fault.TRANSIENT),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=lambda state: (state.seconds_since_start or 0) >= PATIENCE.total_seconds(),
    before_sleep=before_sleep_log(_log, logging.WARNING),
    reraise=True,
)


def patiently(transaction: Callable[[], _Result]) -> _Result:
    """Run ``transaction``, again and again while PostgreSQL fails for a reason that passes, for `PATIENCE` at most.

    The waits grow and are random, so that workers which failed together do not come back together.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the last failure.
    """
    return _retrying(transaction)


def in_pieces(transaction: Callable[[int], _Result], most_rows: int) -> _Result:
    """Run ``transaction`` over up to so many rows, and over half as many each time that PostgreSQL ends it as too long.

    What is too much once is too much the next time, and what was left grows meanwhile: without this, a task that had
    fallen behind would never catch up.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: any other failure; or even one row takes too long.
    """
    rows = most_rows
    while True:
        try:
            return transaction(rows)
        except OperationalError as error:
            if sqlstate_of(error) != QUERY_CANCELED or rows <= 1:
                raise
            rows //= 2
            _log.warning("a transaction took too long; trying it with %d rows at most", rows)
