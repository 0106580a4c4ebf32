"""How this system connects to PostgreSQL: short waits, dead peers noticed, nothing confidential in an error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, ExceptionContext, make_url

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

    What the URL's own query says (``?sslmode=require&connect_timeout=10``) wins over the defaults here.

    Args:
        database_url: ``postgresql://user:password@host:port/name``.
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
    url = _parse(database_url)
    defaults = {"application_name": application_name, "client_encoding": "utf8", **_DEAD_PEER}
    connect_args: dict[str, Any] = {name: value for name, value in defaults.items() if name not in url.query}
    connect_args["options"] = " ".join(
        (
            _timeouts(statement_timeout),
            *(_INDEX_LOOKUPS if for_batches else ()),
            *_as_tuple(url.query.get("options")),
        )
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
    sa.event.listen(engine, "handle_error", _hide_data)
    return engine


def _parse(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError("the database URL cannot be read; write postgresql://user:password@host:5432/name") from None
    if "@" in (url.host or ""):  # the rest of a password, which a failed look-up of the host would spell out
        raise ValueError("the database URL holds more than one @; write the one in the password as %40")
    return url


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
    ("invalid input syntax for type uuid: …"), of which only the kind is kept.
    """
    sqlstate, primary = error.diag.sqlstate, error.diag.message_primary
    if sqlstate is None or primary is None:  # raised by libpq or psycopg, which have seen no row
        return str(error).strip()
    if sqlstate.startswith(_DATA_EXCEPTION):
        return f"{type(error).__name__} ({sqlstate})"
    return f"{primary} ({sqlstate})"


def _hide_data(context: ExceptionContext) -> None:
    error, wrapper = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, psycopg.Error):
        error.args = (describe_error(error),)
        if wrapper is not None:
            wrapper.args = (f"({type(error).__name__}) {error}",)
