"""Processes that are advanced statement by statement, and killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from sqlalchemy import Engine

from tests.interleavings.actors import Actor, Stop
from tests.model.mortal import Killed

#: How far a process may go, where that is no number of statements.
COMMIT: Final = 0
END: Final = -1


class Process(Actor):
    """An actor that can be killed.

    ``messages`` are those that its batch is about, by number; None: it may be about any. ``foreign`` are those of rows
    that another program had written when it began.
    """

    def __init__(
        self, name: str, work: Callable[[], object], messages: frozenset[str] | None, foreign: frozenset[str]
    ) -> None:
        self.call = work
        self.messages = messages
        self.foreign = foreign
        self._killed = False
        super().__init__(name, work)

    def __repr__(self) -> str:
        return self.name

    def arrive(self, pid: int, statement: str) -> None:
        super().arrive(pid, statement)
        if self._killed:
            raise Killed

    def go_on(self, how_far: int, is_waiting: Callable[[int], bool]) -> Stop:
        """Let it go on by so many statements, until it is about to `COMMIT`, or to its `END`; say where it stops."""
        if how_far == END:
            return self.go(None, is_waiting)
        stop = self.go(len(self.gates) + max(how_far, 1), is_waiting)
        while how_far == COMMIT and stop is Stop.AT_GATE and self.gates[-1] != "COMMIT":
            stop = self.go(len(self.gates) + 1, is_waiting)
        return stop

    def kill(self) -> None:
        """End it where it stands. Its transaction is rolled back."""
        self._killed = True
        self.release()


@dataclass
class Watch:
    """Whoever looks at the database from outside, and never stops."""

    engine: Engine
    connection: psycopg.Connection[tuple[bool]]

    def is_waiting(self, pid: int) -> bool:
        row = self.connection.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid]).fetchone()
        return row is not None and row[0]
