"""Faults of PostgreSQL that leave it running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random

import psycopg

from proof.faults.fault import fault
from proof.world import World

_EVENTS = ("azure_engagement_events", "azure_delivery_events")
#: Table by table, in the order in which we lock them and in the other; and rows, in an order that nobody has.
_TABLE_LOCKS = tuple(
    f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE" for table in (*_EVENTS, "azure_message_tracking")
)
_ROW_LOCKS = tuple(
    f"SELECT 1 FROM (SELECT id FROM {table} WHERE state <> 'attributed' ORDER BY id DESC LIMIT 100) AS last"
    f" JOIN {table} USING (id) ORDER BY random() FOR UPDATE OF {table}"
    for table in _EVENTS
)
_OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'operator'"
)


@fault("sessions ended", lasts=(0.2, 1.0))
def sessions_ended(world: World, target: str, rng: Random) -> Iterator[str]:
    """An operator, or a failover, ends every session."""
    with world.connect_postgres() as connection:
        count = _end_sessions(connection)
        yield ""
        world.note(count + _end_sessions(connection), "sessions")


@fault("out of connections", lasts=(2.0, 5.0))
def out_of_connections(world: World, target: str, rng: Random) -> Iterator[str]:
    """Somebody else takes every connection that there is, and each one that is given back."""
    over = threading.Event()
    with world.connect_postgres() as operator, ExitStack() as taken:

        def take() -> None:
            while not over.wait(0.01):
                with suppress(psycopg.OperationalError):
                    taken.enter_context(world.connect_postgres())

        hand = threading.Thread(target=take, name="take-connections", daemon=True)
        hand.start()
        try:
            with _refusals(world, "too many clients", "remaining connection slots"):
                _end_sessions(operator)
                yield ""
        finally:
            over.set()
            hand.join()


@fault("read-only", lasts=(1.0, 4.0))
def read_only(world: World, target: str, rng: Random) -> Iterator[str]:
    """As on the old primary after a failover."""
    with _refusals(world, "in a read-only transaction"), _default(world, "default_transaction_read_only", "on"):
        yield ""


@fault("serializable", lasts=(2.0, 5.0))
def serializable(world: World, target: str, rng: Random) -> Iterator[str]:
    """Sessions are made stricter behind our back: concurrent transactions fail with 40001, and must be repeated."""
    with (
        _refusals(world, "could not serialize access"),
        _default(world, "default_transaction_isolation", "serializable"),
    ):
        yield ""


@fault("tables locked", lasts=(4.0, 6.0))
def tables_locked(world: World, target: str, rng: Random) -> Iterator[str]:
    """A foreign transaction holds a table until statements time out."""
    table = rng.choice([*_EVENTS, "azure_message_tracking"])
    with (
        _refusals(world, "due to statement timeout", "due to lock timeout"),
        world.connect_postgres() as connection,
        connection.transaction(),
    ):
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield table


@fault("foreign writer", lasts=(3.0, 6.0))
def foreign_writer(world: World, target: str, rng: Random) -> Iterator[str]:
    """Somebody locks what we lock, in other orders: deadlocks, of which PostgreSQL ends either side."""
    over = threading.Event()

    def write() -> None:
        with world.connect_postgres() as connection:
            while not over.wait(0.02):
                with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                    for statement in rng.choice([_TABLE_LOCKS, _TABLE_LOCKS[::-1], _ROW_LOCKS]):
                        connection.execute(statement.encode())
                        over.wait(0.03)

    with world.connect_postgres() as connection:
        before = _deadlocks(connection)
        hand = threading.Thread(target=write, name="foreign-writer", daemon=True)
        hand.start()
        try:
            yield ""
        finally:
            over.set()
            hand.join()
            world.notes.append(f"{_deadlocks(connection) - before} deadlocks")


@contextmanager
def _refusals(world: World, *sentences: str) -> Iterator[None]:
    """Note how often PostgreSQL has said one of ``sentences`` meanwhile. It says so in its log."""
    log = world.postgres.log
    begun = log.stat().st_size
    try:
        yield
    finally:
        with log.open("rb") as file:
            file.seek(begun)
            said = file.read()
        world.note(sum(said.count(sentence.encode()) for sentence in sentences), "statements refused")


@contextmanager
def _default(world: World, setting: str, value: str) -> Iterator[None]:
    """Change a default of the server for every session, the present ones included."""
    with world.connect_postgres() as connection:
        connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute(f"ALTER SYSTEM RESET {setting}")
            connection.execute("SELECT pg_reload_conf()")


def _end_sessions(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute(_OTHERS.encode()).fetchone()
    return row[0] if row else 0


def _deadlocks(connection: psycopg.Connection[tuple[int]]) -> int:
    # Statistics of a session are sent with a delay; those of whoever is asked, at once.
    row = connection.execute("SELECT sum(deadlocks)::bigint FROM pg_stat_database").fetchone()
    return row[0] if row else 0
