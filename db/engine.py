"""How this system connects to PostgreSQL: short waits, dead peers noticed, nothing confidential in an error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import ExceptionContext

from db.address import parse_address
from db.deadline import MARGIN, PunctualConnection

#: Longest wait for a lock: a lock held longer than this is an operator's, and the batch is better retried than stuck.
LOCK_TIMEOUT = timedelta(seconds=5)
#: Longest pause inside a transaction. No call to Redis or HTTP is made in one, so a pause means a dead process.
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=15)

#: What libpq needs to notice within about 15 seconds that the server's machine is gone.
_DEAD_PEER = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

_INDEX_LOOKUPS = ("-c enable_hashjoin=off", "-c enable_mergejoin=off")

_DATA_EXCEPTION = "22"
#: Raised by a function, such as a trigger of the database's owner, in words of its own.
_RAISED = "P0"
_READ_ONLY = "25006"


def create_engine(
    database_url: str,
    *,
    statement_timeout: timedelta | None = timedelta(seconds=15),
    application_name: str = "attribution",
    pool_size: int = 2,
    for_batches: bool = False,
    **engine_options: Any,
) -> sa.Engine:
    """Return an engine for ``database_url``. It connects when first used, so make one in each process, after forking.

    What the URL's own query says (``?sslmode=require&connect_timeout=10``) wins over the defaults here. A connection
    that turns out to lead to a read-only standby is not used again.

    Args:
        database_url: ``postgresql://user:password@host:port/name``, or with several hosts: see `db.address`.
        statement_timeout: longest a statement may run; None is for ever, which only migrations need.
        application_name: what ``pg_stat_activity`` shows.
        pool_size: connections kept, and the most ever open at once.
        for_batches: for the pipeline, whose statements look up a few thousand ids among millions of rows. The planner,
            having no statistics of temporary tables, may choose to read the millions: joins by hash and merge are
            switched off. And connections are not tested before each use, for a batch that fails is tried again.
        **engine_options: anything else of `sqlalchemy.create_engine`.

    Raises:
        ValueError: ``database_url`` cannot be read. The text does not repeat it.
    """
    url, hosts = parse_address(database_url)
    defaults = {"application_name": application_name, "client_encoding": "utf8", **_DEAD_PEER}
    connect_args: dict[str, Any] = {name: value for name, value in defaults.items() if name not in url.query} | hosts
    own_options = _as_tuple(url.query.get("options"))
    connect_args["options"] = " ".join(
        (_timeouts(statement_timeout), *(_INDEX_LOOKUPS if for_batches else ()), *own_options)
    )
    pool = {} if "poolclass" in engine_options else {"pool_size": pool_size, "max_overflow": 0, "pool_recycle": 1800}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=connect_args,
        pool_pre_ping=not for_batches,
        hide_parameters=True,
        **pool,
        **engine_options,
    )
    # Who sets another limit in the URL is the one to know how long to wait.
    limited = not any("statement_timeout" in option for option in own_options)
    longest_silence = statement_timeout + MARGIN if statement_timeout and limited else None

    def connect(_dialect: Any, _record: Any, arguments: list[Any], keywords: dict[str, Any]) -> PunctualConnection:
        connection = PunctualConnection.connect(*arguments, **keywords)
        connection.longest_silence = longest_silence
        return connection

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "handle_error", _leave_standby)
    sa.event.listen(engine, "handle_error", _hide_data)
    sa.event.listen(engine, "handle_error", _leave_interrupted)
    return engine


def _timeouts(statement_timeout: timedelta | None) -> str:
    timeouts = {
        "statement_timeout": statement_timeout or timedelta(0),
        "lock_timeout": LOCK_TIMEOUT,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT,
    }
    return " ".join(f"-c {name}={timeout // timedelta(milliseconds=1)}" for name, timeout in timeouts.items())


def _as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def describe_error(error: psycopg.Error) -> str:
    """Say what PostgreSQL complained of, without a word of the data it complained about.

    Its DETAIL and CONTEXT repeat rows ("Failing row contains …"), and so does the first line of a data exception
    ("invalid input syntax for type uuid: …") and of what a trigger raises, of which only the kind is kept.
    """
    sqlstate, primary = error.diag.sqlstate, error.diag.message_primary
    if sqlstate is None or primary is None:  # raised by libpq or psycopg, which have seen no row
        return str(error).strip()
    if sqlstate.startswith((_DATA_EXCEPTION, _RAISED)):
        return f"{type(error).__name__} ({sqlstate})"
    return f"{primary} ({sqlstate})"


def _leave_standby(context: ExceptionContext) -> None:
    """After a failover that has cut no connection, the pool would lead to the old primary for half an hour more."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _leave_interrupted(context: ExceptionContext) -> None:
    """Have a connection closed whose statement something else has interrupted, such as Celery's soft time limit.

    The statement runs on. A rollback would fail on it, and that failure, which looks as if it passed by itself, would
    take the place of the interruption: the transaction would be tried again, and the time limit forgotten.
    """
    if not isinstance(context.original_exception, psycopg.Error):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _hide_data(context: ExceptionContext) -> None:
    error, wrapper = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, psycopg.Error):
        error.args = (describe_error(error),)
        if wrapper is not None:
            wrapper.args = (f"({type(error).__name__}) {error}",)
