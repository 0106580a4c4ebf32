"""Change tables while other programs read and write them.

A deploy at noon must not stop the mailer. So no statement here holds a lock that keeps readers or writers out for
longer than it takes to edit the catalogue, and none waits for such a lock longer than `LOCK_TIMEOUT`: whoever waits for
it makes everyone behind it wait too. Whatever takes as long as the table is big (filling rows, building indexes,
checking constraints) is done in a way that lets everyone else go on.

Each step may be the last one before a crash, so each finds out for itself what there is left to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from alembic import op
from alembic.util import CommandError
from psycopg import errors

#: Longest wait for a lock that keeps others out. Everyone behind us in the queue waits as well. So the first wait is
#: short, which is enough where only the pipeline is at work, and each is twice the one before: a report in the way may
#: end in a pause, with nobody behind us. An autovacuum gives way to who has waited for a second (`deadlock_timeout`).
FIRST_LOCK_TIMEOUT, LOCK_TIMEOUT = timedelta(milliseconds=200), timedelta(seconds=3)
#: Longest wait for transactions older than a concurrent index. It keeps nobody out; it only must not last for ever.
INDEX_TIMEOUT = timedelta(minutes=10)
#: How often a step that met a lock is tried, and the pause in between, in which the others get through.
TRIES, PAUSE = 10, timedelta(seconds=1)
#: Rows changed in one transaction: some tenths of a second.
BATCH_ROWS = 10_000

_LOWEST_ID = -(2**63)


class StillLocked(CommandError):
    """A lock was not to be had. The text says which step met it, and what to do."""


class Online:
    """A session in autocommit mode that changes tables under traffic.

    Args:
        connection: psycopg connection in autocommit mode, without a statement timeout.
        report: told, before each step, what comes next.
    """

    def __init__(self, connection: psycopg.Connection[Any], report: Callable[[str], None]) -> None:
        self._connection = connection
        self.report = report

    @classmethod
    def of_migration(cls) -> Online:
        """Return the session of the migration that Alembic is running."""
        config = op.get_context().config
        connection = op.get_bind().connection.driver_connection
        if config is None or not isinstance(connection, psycopg.Connection) or not connection.autocommit:
            raise CommandError("These migrations need a connection in autocommit mode, from db.migrate.session().")
        return cls(connection, config.attributes.get("report", config.print_stdout))

    def rows(self, query: str, **parameters: object) -> list[Any]:
        """Return the rows of ``query``; none if it is not one that returns rows."""
        cursor = self._connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, query: str, **parameters: object) -> Any:
        """Return the first column of the first row of ``query``, or None."""
        return next(iter(self.rows(query, **parameters)), (None,))[0]

    def change(self, what: str, *statements: str) -> list[Any]:
        """Run ``statements`` in one transaction that waits for locks briefly, and again if it met one.

        Returns:
            The rows of the last statement.
        """
        self.report(what)
        return self._transaction(what, statements)

    def batches(self, what: str, table: str, *statements: str) -> None:
        """Run ``statements`` over all rows of ``table`` in order of `id`, `BATCH_ROWS` rows in a transaction.

        They name the rows of a batch as ``id > %(after)s AND id <= %(upto)s``.
        """
        self.report(what)
        next_batch = f"SELECT max(id) FROM (SELECT id FROM {table} WHERE id > %(after)s ORDER BY id LIMIT {BATCH_ROWS})"
        after = _LOWEST_ID
        while (upto := self.value(f"{next_batch} AS batch", after=after)) is not None:
            self._transaction(what, statements, after=after, upto=upto)
            after = upto

    def _transaction(self, what: str, statements: Sequence[str], **parameters: object) -> list[Any]:
        for attempt in range(1, TRIES + 1):
            longest_wait = min(LOCK_TIMEOUT, FIRST_LOCK_TIMEOUT * 2 ** (attempt - 1))
            try:
                with self._connection.transaction(), self._lock_timeout(longest_wait, local=True):
                    return [self.rows(statement, **parameters) for statement in statements][-1]
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                if attempt == TRIES:
                    break
                self.report(f"{what}: others hold a lock, attempt {attempt} of {TRIES}")
                time.sleep(PAUSE.total_seconds())
        raise StillLocked(
            f"While {what}, a lock was not free in {TRIES} attempts. A long transaction holds it: find it in"
            " pg_stat_activity, let it end, and migrate again."
        )

    def index(self, name: str, table: str, definition: str, *, unique: bool = False) -> None:
        """Build the index ``name`` on ``table`` without keeping writers out, unless it is there.

        Raises:
            errors.UniqueViolation: the rows are not unique. The failed index is gone again.
        """
        valid = self.value(
            "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass(%(name)s)", name=f'"{name}"'
        )
        if valid:
            return
        drop = f'DROP INDEX CONCURRENTLY "{name}"'
        with self._lock_timeout(INDEX_TIMEOUT):
            try:
                if valid is False:  # a build that failed or was killed leaves an index that costs writes, serves nobody
                    self.report(f"dropping the unfinished index {name}")
                    self.rows(drop)
                self.report(f"building the index {name}")
                kind = "UNIQUE INDEX" if unique else "INDEX"
                self.rows(f'CREATE {kind} CONCURRENTLY "{name}" ON {table} {definition}')
            except errors.UniqueViolation:
                self.rows(drop)
                raise
            except errors.LockNotAvailable:
                raise StillLocked(
                    f"While building the index {name}: transactions that began before were still open after"
                    f" {INDEX_TIMEOUT}. Find them in pg_stat_activity, let them end, and migrate again."
                ) from None

    @contextmanager
    def _lock_timeout(self, timeout: timedelta, *, local: bool = False) -> Iterator[None]:
        scope = "LOCAL " if local else ""
        self.rows(f"SET {scope}lock_timeout = {timeout // timedelta(milliseconds=1)}")
        try:
            yield
        finally:
            if not local and not self._connection.closed:
                self.rows("RESET lock_timeout")

    def constraint(self, table: str, name: str, definition: str) -> None:
        """Add the constraint ``name`` for new rows at once, then check the old rows while others go on."""
        validated = self._validated(table, name)
        if validated is None:
            self.change(f"adding {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")
        if not validated:
            self.change(f"checking {name}", f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")

    def holds(self, table: str, name: str) -> bool:
        """Tell whether the constraint ``name`` is known to hold of every row."""
        return bool(self._validated(table, name))

    def _validated(self, table: str, name: str) -> bool | None:
        validated: bool | None = self.value(
            "SELECT convalidated FROM pg_constraint WHERE conrelid = to_regclass(%(table)s) AND conname = %(name)s",
            table=table,
            name=name,
        )
        return validated

    def unique(self, table: str, column: str) -> None:
        """Make ``column`` unique, under the name that PostgreSQL itself would give the constraint, unless it is."""
        name = f"{table}_{column}_key"
        if not self.is_unique(table, column):
            self.index(name, table, f"({column})", unique=True)
            self.change(f"adding {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")

    def is_unique(self, table: str, column: str) -> bool:
        """Tell whether a constraint makes ``column`` unique."""
        return bool(
            self.value(
                "SELECT count(*) FROM pg_constraint AS c"
                " JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]"
                " WHERE c.conrelid = to_regclass(%(table)s) AND c.contype = 'u' AND a.attname = %(column)s",
                table=table,
                column=column,
            )
        )

    def has_column(self, table: str, column: str) -> bool:
        """Tell whether ``table`` has the column ``column``."""
        return bool(
            self.value(
                "SELECT count(*) FROM pg_attribute"
                " WHERE attrelid = to_regclass(%(table)s) AND attname = %(column)s AND NOT attisdropped",
                table=table,
                column=column,
            )
        )

    def has_trigger(self, table: str, name: str) -> bool:
        """Tell whether ``table`` has the trigger ``name``."""
        return bool(
            self.value(
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(%(table)s) AND tgname = %(name)s",
                table=table,
                name=name,
            )
        )
