"""Whether PostgreSQL can be used, found out within seconds: a transaction waits for half a minute for one that cannot.

A pool has few processes, and beat asks for maintenance by the second. If each task waited for as long as a statement
may take, all processes would wait, and behind them the trackings, which have a stream to go to, and beat's other tasks.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.allowance import ask
from tasks.patience import said_of
from worker.errors import DatabaseAway

_log = logging.getLogger(__name__)

#: Longest wait for a sign of life. A new connection has the time that its address gives it, usually five seconds.
LONGEST_ANSWER: Final = timedelta(seconds=3)
#: How long PostgreSQL is not asked again once it has not answered.
PAUSE: Final = timedelta(seconds=5)
#: How long an answer stands, so that many short tasks do not each ask.
STANDS: Final = timedelta(seconds=1)


class Presence:
    """What one process knows of whether PostgreSQL answers, and takes writes. It is for one thread."""

    def __init__(self) -> None:
        self._stands_until = self._pauses_until = 0.0
        self._away = False

    def require(self, engine: Engine) -> None:
        """Make sure that PostgreSQL was there for us within the last second, on a connection of ``engine``.

        Raises:
            DatabaseAway: it does not answer or takes no writes, or so it was seconds ago and was not asked again.
        """
        now = time.monotonic()
        if now < self._stands_until:
            return
        if now < self._pauses_until:
            raise DatabaseAway
        try:
            ask(engine, LONGEST_ANSWER)
        except SQLAlchemyError as error:
            if not self._away:
                _log.error("PostgreSQL cannot be used; tasks are left for later: %s", said_of(error))
            self._away = True
            self._pauses_until = time.monotonic() + PAUSE.total_seconds()
            raise DatabaseAway from error
        if self._away:
            _log.info("PostgreSQL can be used again")
        self._away = False
        self._stands_until = time.monotonic() + STANDS.total_seconds()
