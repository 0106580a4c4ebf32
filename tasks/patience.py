"""How long, and how, a transaction is tried again while PostgreSQL is unwell."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from db.errors import QUERY_CANCELED, Fault, fault_of, sentence_of, sqlstate_of
from worker.telemetry.scrubbing import scrub_text

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

#: How long one batch waits for PostgreSQL to get well before its entries go back to the stream. Well below the idle
#: time after which another process would claim them.
PATIENCE = timedelta(seconds=20)


def said_of(error: BaseException) -> str:
    """Return the kind of an error and what PostgreSQL or Redis said, for a log line: one line, and no statement."""
    return f"{type(error).__name__}: {scrub_text(sentence_of(error))}"


def _tell_first(state: RetryCallState) -> None:
    """Say once of each transaction that it is tried again, and why: an unwell PostgreSQL makes for many attempts."""
    error = state.outcome.exception() if state.outcome else None
    if error is not None and state.attempt_number == 1:
        _log.warning("Retrying a transaction, for %.0f s at most: %s", PATIENCE.total_seconds(), said_of(error))


_retrying = Retrying(
    retry=retry_if_exception(lambda error: isinstance(error, Exception) and fault_of(error) is Fault.TRANSIENT),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=lambda state: (state.seconds_since_start or 0) >= PATIENCE.total_seconds(),
    before_sleep=_tell_first,
    reraise=True,
)


def patiently(transaction: Callable[[], _Result]) -> _Result:
    """Run ``transaction``, again and again while PostgreSQL fails for a reason that passes, for `PATIENCE` at most.

    The waits grow and are random, so that workers which failed together do not come back together.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the last failure.
    """
    return _retrying(transaction)


class Pieces:
    """Work that may be too much for one statement, done in pieces of a size that PostgreSQL has time for.

    What was too much once is too much the next time, and what was left grows meanwhile. So a piece that PostgreSQL ends
    as too long is tried an eighth as large, which finds the size well within a task's time limit; and the size is kept
    from run to run, growing slowly while all goes well.
    """

    def __init__(self) -> None:
        self._rows: int | None = None

    def run(self, transaction: Callable[[int], _Result], most_rows: int) -> _Result:
        """Run ``transaction`` over as many rows as there is time for, ``most_rows`` at most.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: any other failure; or even one row takes too long.
        """
        while True:
            rows = min(most_rows, self._rows or most_rows)
            try:
                result = transaction(rows)
            except OperationalError as error:
                if sqlstate_of(error) != QUERY_CANCELED or rows <= 1:
                    raise
                self._rows = rows // 8 or 1
                _log.warning("a transaction took too long; trying it with %d rows at most", self._rows)
            else:
                self._rows = None if rows == most_rows else rows + rows // 8 + 1
                return result
