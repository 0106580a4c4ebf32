"""What an import reads from: a source, and the pieces of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from tasks.batch import Body
from worker.errors import AttributionError


class SourceUnreadable(AttributionError):
    """A source cannot be read, or not to its end."""


class Piece(NamedTuple):
    """One piece of a source, in the order in which it is read.

    ``position`` is how far the source has been read with it; ``done`` the same as the progress bar counts. ``body`` is
    None where it is nothing of ours.
    """

    position: int
    done: int
    body: Body | None


class Source(Protocol):
    """Somewhere events are kept."""

    @property
    def key(self) -> str:
        """What the source is called in the table of what has been read."""
        ...

    @property
    def ends(self) -> bool:
        """Whether it is read once and for all; else more may come behind what has been read."""
        ...

    def read(self, after: int) -> Iterator[Piece]:
        """Yield the pieces behind position ``after``.

        Raises:
            SourceUnreadable: nothing more can be read; what was yielded is sound.
        """
        ...
