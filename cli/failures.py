"""Failures that a sentence explains, as against faults of ours, which show their traceback."""

from __future__ import annotations

import sys
from typing import IO, Any

import click
from rich.console import Console

from stack.errors import StackError
from worker.errors import AttributionError, SettingsInvalid

#: What an installation for production does without.
_DEVELOPMENT = ("simulator", "benchmarks", "aiohttp")


class Failed(click.ClickException):
    """A failure shown as one sentence in red."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence on standard error."""
        Console(stderr=True, soft_wrap=True).print(self.message, style="bold red", markup=False, highlight=False)


class Unusable(Failed):
    """What the user gave cannot be used: the exit code is that of click's own usage errors."""

    exit_code = 2


def explain(error: Exception) -> Failed | None:
    """Return what to show in place of ``error``'s traceback, or None if the traceback is what is needed."""
    if isinstance(error, SettingsInvalid):
        return Unusable(str(error))
    if isinstance(error, (AttributionError, StackError)):
        return Failed(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name in _DEVELOPMENT:
        return Failed(
            "This command needs a checkout of the project, and is not in this installation. Run `make setup`."
        )
    # The rest can only have been raised if its library has been imported; importing it for the comparison alone would
    # slow down every command.
    if "redis" in sys.modules:
        import redis

        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            return Failed(f"Redis cannot be used: {error}. Check ATTRIBUTION_REDIS_URL.")
    if "sqlalchemy" in sys.modules:
        import sqlalchemy as sa

        from db.migrate import DatabaseNotMigrated, MigrationFailed

        if isinstance(error, (DatabaseNotMigrated, MigrationFailed)):
            return Failed(str(error))
        if isinstance(error, sa.exc.OperationalError):
            return Failed(f"PostgreSQL cannot be used: {error.orig}. Check ATTRIBUTION_DATABASE_URL.")
    return None
