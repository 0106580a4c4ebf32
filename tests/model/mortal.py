"""A process that dies between two commits, as far as PostgreSQL can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection, Engine


class Killed(BaseException):
    """The process is gone. No handler of the pipeline's may catch this, as none could catch the real thing."""


class Mortal:
    """As much of an engine as the pipelines need, of a process that lives for so many commits, or for ever.

    With no life left it dies at the end of a transaction, which is rolled back: whether it had died earlier in the
    transaction, or between the one before and this, the database would look the same.
    """

    def __init__(self, engine: Engine, lives: int | None) -> None:
        self._engine = engine
        self._lives = lives
        self.commits = 0

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self._engine.begin() as conn:
            yield conn
            if self.commits == self._lives:
                raise Killed
        self.commits += 1

    @property
    def engine(self) -> Engine:
        """Itself, for whoever wants an engine and only begins transactions."""
        return cast(Engine, self)
