"""Actors: threads that run one of the system's transactions each, and stop before any of its statements when told to.

Every statement, COPY and COMMIT that an actor's thread sends passes a gate, whichever connection it goes over. Whoever
directs the actors says how far each may go, and is told where it has stopped: at a gate, at its end, or waiting for a
lock. Nothing sleeps; that an actor waits for a lock is what PostgreSQL says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any, Self, cast

import psycopg
from psycopg.abc import Params, Query
from psycopg.sql import SQL
from sqlalchemy import Connection, Engine, event

from db.engine import create_engine

#: Seconds after which a play that does not come to its end is given up.
STUCK = 40.0
#: Seconds that an actor is given for a statement before PostgreSQL is asked whether it waits; each time twice as many.
_A_MOMENT = 0.002
_LONGEST_MOMENT = 0.1

_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


class Stop(Enum):
    """Where an actor has stopped."""

    AT_GATE = auto()
    WAITING = auto()
    ENDED = auto()


class _GatedCursor(psycopg.Cursor[Any]):
    def execute(
        self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        with _gate(self.connection, str(query)):
            return super().execute(cast(SQL, query), params, prepare=prepare, binary=binary)

    @contextmanager
    def copy(
        self, statement: Query, params: Params | None = None, *, writer: psycopg.copy.Writer | None = None
    ) -> Iterator[psycopg.Copy]:
        with _gate(self.connection, str(statement)), super().copy(statement, params, writer=writer) as copy:
            yield copy


@contextmanager
def _gate(connection: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    actor = _acting.get()
    if actor is None:
        yield
        return
    actor.arrive(connection.info.backend_pid, statement)
    try:
        yield
    except psycopg.Error as error:
        actor.sqlstates.append(error.sqlstate or type(error).__name__)
        raise


def gated_engine(database_url: str, **options: Any) -> Engine:
    """Return an engine as production makes it, whose statements and commits pass the gate of the actor that uses it."""
    engine = create_engine(database_url, pool_size=3, **options)

    @event.listens_for(engine, "connect")
    def put_gates(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.cursor_factory = _GatedCursor

    @event.listens_for(engine, "commit")
    def pass_gate(conn: Connection) -> None:
        driver = conn.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with _gate(driver, "COMMIT"):
            pass

    return engine


@contextmanager
def gated_transaction(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect as another program does, for one transaction."""
    with psycopg.connect(database_url, cursor_factory=_GatedCursor) as connection:
        yield connection
        with _gate(connection, "COMMIT"):
            connection.commit()


class Actor:
    """One thread that does ``work``, from gate to gate.

    ``gates`` are the statements it has come to, ``sqlstates`` what PostgreSQL has refused, retries included; ``error``
    is what its work raised in the end, and ``waited`` says whether it was ever found to wait for a lock.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.gates: list[str] = []
        self.sqlstates: list[str] = []
        self.error: BaseException | None = None
        self.ended = False
        self.waited = False
        self._work = work
        self._at_gate = True  # the first is before everything
        self._upto: int | None = 0
        self._pid = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._act, name=name, daemon=True)
        self._thread.start()

    def arrive(self, pid: int, statement: str) -> None:
        """Stop at a gate, if this is as far as the actor may go. Called by its own thread."""
        with self._changed:
            self._pid = pid
            self.gates.append(" ".join(statement.split())[:70])
            self._stop_here()

    def go(self, upto: int | None, is_waiting: Callable[[int], bool]) -> Stop:
        """Let the actor go until gate number ``upto``, counted from 1, or with None to its end; say where it stops.

        One that waits for a lock stops at the first gate behind the lock, whenever it gets it.
        """
        with self._changed:
            self._upto = upto
            if upto is None or upto > len(self.gates):
                self._at_gate = False
                self._changed.notify_all()
            until = time.monotonic() + STUCK
            moment = _A_MOMENT
            while time.monotonic() < until:
                if self._changed.wait_for(lambda: self._at_gate or self.ended, timeout=moment):
                    return Stop.ENDED if self.ended else Stop.AT_GATE
                moment = min(2 * moment, _LONGEST_MOMENT)
                if self._pid and is_waiting(self._pid):
                    self._upto = len(self.gates) + 1
                    self.waited = True
                    return Stop.WAITING
        raise AssertionError(f"{self.name} neither ends nor waits for a lock: {self.gates[-1:]}")

    def release(self) -> None:
        """Let the actor go to its end, whatever stands in the way, and wait for that."""
        with self._changed:
            self._upto = None
            self._at_gate = False
            self._changed.notify_all()
        self._thread.join(STUCK)

    def _act(self) -> None:
        _acting.set(self)
        with self._changed:
            self._stop_here()
        try:
            self._work()
        except BaseException as error:
            self.error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _stop_here(self) -> None:
        if self._upto is not None and len(self.gates) >= self._upto:
            self._at_gate = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._at_gate)
