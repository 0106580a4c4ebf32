"""A connection on which silence has an end.

PostgreSQL limits the time of a statement, and TCP notices a peer whose machine is gone. Neither helps where something
in between takes our bytes and says nothing: a proxy that has lost the other side, a server that is frozen, a COMMIT
that waits for a standby which will not come back. Without an end, a drain process would wait there for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

_Result = TypeVar("_Result")

#: How much longer than a statement may run we wait for PostgreSQL's word: it ends the statement, and has to say so.
MARGIN: Final = timedelta(seconds=10)
_INTERVAL_SECONDS = 0.1


class PunctualConnection(psycopg.Connection[Any]):
    """Gives up, and closes itself, when PostgreSQL has not answered within ``longest_silence``; None waits for ever.

    What became of the statement is then unknown, as with any connection that broke.
    """

    longest_silence: timedelta | None = None

    def wait(self, gen: PQGen[_Result], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> _Result:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: there was none.
        """
        if timeout is not None or self.longest_silence is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.longest_silence.total_seconds())
        except psycopg.OperationalError:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise  # an error that PostgreSQL, or the network, has told us
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"PostgreSQL did not answer for {self.longest_silence.total_seconds():g} seconds"
            ) from None
