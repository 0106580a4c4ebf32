"""Replay: archived bodies go through the pipeline again. What is there already is known; what is missing comes back."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Engine, Row

from db.archive import BEGINNING, Place, Window, list_archived, read_contents
from tasks.archiving import ArchiveUnreadable, unpack
from tasks.batch import Body, Drained, work
from tasks.cutting import in_batches
from tasks.runs import Run, counts_of

#: Messages before events, so that fewer park.
KINDS: Final = ("message", "event")
#: Rows listed at once.
_LISTED: Final = 1000


@dataclass
class Replayed:
    """What a replay has done so far. ``unreadable`` are rows of the archive."""

    bodies: int = 0
    drained: Drained = field(default_factory=Drained)
    unreadable: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return it as it is stored with the run."""
        return {"bodies": self.bodies, "unreadable": len(self.unreadable), **counts_of(self.drained)}


def replay(archive: Engine, run: Run, window: Window, replayed: Replayed) -> Generator[int, None, None]:
    """Work the archived bodies that came in ``window``, messages first; yield the bytes of the archive done.

    They are read from ``archive`` in small transactions, so that a window of any length takes little memory, and are
    not archived again. Stopped between two batches or within one, it has done what ``replayed`` tells; a second replay
    changes nothing about that.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: as `tasks.batch.work`.
    """
    for kind in KINDS:
        for rows in in_batches(_rows(archive, kind, window), lambda row: (row.bodies, row.raw_bytes)):
            bodies = [
                body
                for body in _read(archive, [row.id for row in rows], replayed)
                if window.since <= body.received_at < window.until
            ]
            if bodies:
                replayed.drained += work(run.pipelines[kind], run.engine, bodies)
            replayed.bodies += len(bodies)
            yield sum(row.raw_bytes for row in rows)


def _rows(archive: Engine, kind: str, window: Window) -> Iterator[Row[Any]]:
    after = BEGINNING
    while True:
        with archive.begin() as conn:
            rows = list_archived(conn, kind, window, after=after, limit=_LISTED)
        yield from rows
        if len(rows) < _LISTED:
            return
        after = Place(rows[-1].last_received_at, rows[-1].id)


def _read(archive: Engine, ids: Sequence[int], replayed: Replayed) -> list[Body]:
    with archive.begin() as conn:
        contents = read_contents(conn, ids)
    bodies: list[Body] = []
    for row_id, content in contents:
        try:
            bodies += unpack(content)
        except ArchiveUnreadable:
            replayed.unreadable.append(row_id)
    return bodies
