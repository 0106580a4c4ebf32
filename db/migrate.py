"""Bring a database to this release's schema, and tell whether it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.pool import NullPool

from db.engine import create_engine, describe_error
from db.tables import VERSION_TABLE

#: Found beside this package, in a checkout and in an installation alike; never by the working directory.
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

#: The advisory lock of migrations: any number, as long as nobody else's is the same.
LOCK = int.from_bytes(b"attribut")

#: How long one upgrade waits for another of the same database.
WAIT = timedelta(minutes=15)
_POLL = timedelta(milliseconds=200)

Report = Callable[[str], None]

_log = logging.getLogger(__name__)


class MigrationFailed(Exception):
    """The database could not be migrated. Nothing is lost; another attempt goes on where this one stopped."""


class DatabaseNotMigrated(Exception):
    """The database's schema is older than this release."""


def upgrade(database_url: str, *, report: Report = _log.info, wait: timedelta = WAIT) -> None:
    """Migrate the database to the newest schema. On one that is there already, do nothing.

    Other programs may go on reading and writing meanwhile. If it is interrupted, call it again. The URL must lead to
    PostgreSQL itself, or to a pooler in session mode: two deploys at once are kept apart by a lock of the session.

    Args:
        database_url: ``postgresql://…`` of a role that may create tables and, in listmonk's database, owns its tables.
        report: told each step before it is taken, and each row that was found wanting: by its id, never an address.
        wait: how long to wait for another upgrade of the same database.

    Raises:
        MigrationFailed: a sentence for the operator.
        ValueError: the URL cannot be read.
    """
    step = "connecting"

    def remember(sentence: str) -> None:
        nonlocal step
        step = sentence
        report(sentence)

    try:
        if is_current(database_url):
            return
        with session(database_url, report=report, wait=wait) as connection:
            config = _config()
            config.attributes.update(connection=connection, report=remember)
            command.upgrade(config, "head")
    except psycopg.Error as error:
        raise MigrationFailed(f"The migration stopped while {step}: {describe_error(error)}.") from None
    except sa.exc.DBAPIError as error:
        raise MigrationFailed(f"The migration stopped while {step}: {error.args[0]}.") from None
    except CommandError as error:
        raise MigrationFailed(f"The migration stopped. {error}") from None


def current(database_url: str) -> str | None:
    """Return the revision that the database is at; None if it was never migrated."""
    engine = create_engine(database_url, poolclass=NullPool, application_name="attribution migrate")
    with engine.connect() as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def is_current(database_url: str) -> bool:
    """Tell whether this release can work on the database."""
    return reason_to_migrate(current(database_url)) is None


def require_current(database_url: str) -> None:
    """Return if this release can work on the database.

    Raises:
        DatabaseNotMigrated: it was never migrated, or not as far as this release needs; what to do.
    """
    if reason := reason_to_migrate(current(database_url)):
        raise DatabaseNotMigrated(reason)


def reason_to_migrate(revision: str | None) -> str | None:
    """Say why a database at ``revision`` will not do; None if it will.

    A revision that this release does not know was made by a newer one. Each migration leaves the release before it
    working, so that a deploy can be rolled back: such a database will do.
    """
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if revision == head or (revision is not None and not is_known(revision)):
        return None
    was = f"is at revision {revision}" if revision else "was never migrated"
    return f"The database {was}, and this release needs {head}. Run `attribution migrate`."


def is_known(revision: str | None) -> bool:
    """Tell whether this release has the revision; one that it has not was made by a newer release."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def session(database_url: str, *, report: Report = _log.info, wait: timedelta = WAIT) -> Iterator[sa.Connection]:
    """Connect, in autocommit mode and without a statement timeout, as the only one who migrates the database.

    The lock belongs to the session that does the work, not to one beside it: if this process is killed, PostgreSQL may
    go on building an index for minutes, and only when that has ended is it safe for the next one to begin.

    Raises:
        MigrationFailed: another migration did not end within ``wait``.
    """
    engine = create_engine(
        database_url,
        statement_timeout=None,
        application_name="attribution migrate",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        _lock(connection, report, wait)
        yield connection


def _lock(connection: sa.Connection, report: Report, wait: timedelta) -> None:
    """Take the lock, by asking again and again.

    `pg_advisory_lock()` would wait inside a statement, and so hold a snapshot. The other migration's CREATE INDEX
    CONCURRENTLY waits for snapshots to end, while we wait for the other: PostgreSQL would end one of us as a deadlock.
    """
    deadline = time.monotonic() + wait.total_seconds()
    waited = False
    while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK))):
        if time.monotonic() >= deadline:
            raise MigrationFailed(
                f"Another migration of this database was still running after {wait}. Try again later."
            )
        if not waited:
            report("waiting for another migration of this database to end")
            waited = True
        time.sleep(_POLL.total_seconds())
