"""The import itself: sources in, batches through the pipeline, and how far each source has been read."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Engine

from db.adoption import adopt_replaced, count_stored_twice
from db.runs import advance, position_of
from tasks.batch import Body, Drained, Pipeline, work
from tasks.cutting import in_batches
from tasks.events import EventRows
from tasks.imports.source import Source, SourceUnreadable
from tasks.patience import patiently
from tasks.runs import Run, counts_of


@dataclass
class Imported:
    """What an import has done so far.

    ``adopted`` are rows of the replaced system that turned out to be events of the import, ``stored_twice`` those it
    had stored beside another of the same event. ``skipped`` is what was well-formed and none of ours. ``unreadable``
    are sources, by their name here, and why.
    """

    sources: int = 0
    bodies: int = 0
    skipped: int = 0
    adopted: int = 0
    stored_twice: int = 0
    drained: Drained = field(default_factory=Drained)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Events that were there already, by their key."""
        return self.drained.duplicates - self.adopted

    def summary(self) -> dict[str, Any]:
        """Return it as it is stored with the run: counts alone, for names of files are the operator's own."""
        own = ("sources", "bodies", "skipped", "adopted", "stored_twice")
        counts = {name: getattr(self, name) for name in own} | {"unreadable": len(self.unreadable)}
        return {name: count for name, count in counts.items() if count} | counts_of(self.drained)


class _Step(NamedTuple):
    """A piece of a source on its way, or with no body the end of one; ``progress`` is what the bar gains by it."""

    source: Source
    position: int
    body: Body | None
    progress: int
    finished: bool


class _Adopting:
    """The events' pipeline, behind the adoption of rows that the replaced system stored.

    The adoption commits first, in a transaction of its own: the batch then finds those events recorded. Nothing is lost
    between the two, for an adopted row is right as it is; and what the adoption added to a row that waits is looked at
    by the pipeline, which settles every message of a batch that held duplicates.
    """

    def __init__(self, events: Pipeline[EventRows], imported: Imported) -> None:
        self._events = events
        self._imported = imported
        self.kind = events.kind
        self.counted = events.counted
        self.parse = events.parse
        self.split = events.split
        self.hide = events.hide
        self.keys = events.keys

    def record(self, engine: Engine, rows: EventRows) -> Drained:
        parsed = rows.parsed

        def adopt() -> int:
            with engine.begin() as conn:
                return adopt_replaced(conn, parsed.deliveries, parsed.engagements)

        self._imported.adopted += patiently(adopt)
        return self._events.record(engine, rows)


def import_sources(
    run: Run, sources: Mapping[str, Source], imported: Imported, *, again: bool = False
) -> Generator[int, None, None]:
    """Bring in the events of ``sources``, each under its name for the user; yield what the progress bar gains.

    Whatever is there already stays as it is. A source is read from where the last import of it stopped, or ``again``
    from its beginning. How far it has been read is written down behind each batch: one that is interrupted in between
    is read twice, never skipped. A source that cannot be read is put aside with the reason, and the others go on.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: as `tasks.batch.work`.
    """
    pipeline = _Adopting(run.pipelines["event"], imported)
    steps = _steps(run, sources, imported, again=again)
    for batch in in_batches(steps, lambda step: (1, 0 if step.body is None else len(step.body.body))):
        bodies = [step.body for step in batch if step.body is not None]
        if bodies:
            imported.drained += work(pipeline, run.engine, bodies)
        imported.bodies += len(bodies)
        _advance(run, batch)
        yield sum(step.progress for step in batch)
    with run.engine.begin() as conn:
        imported.stored_twice = count_stored_twice(conn)


def _steps(run: Run, sources: Mapping[str, Source], imported: Imported, *, again: bool) -> Iterator[_Step]:
    for name, source in sources.items():
        with run.engine.begin() as conn:
            position = 0 if again else position_of(conn, source.key).position
        done = finished = 0
        try:
            for piece in source.read(position):
                position = piece.position
                imported.skipped += piece.body is None
                yield _Step(source, position, piece.body, piece.done - done, False)
                done = piece.done
            finished = source.ends
        except SourceUnreadable as error:
            imported.unreadable.append((name, str(error)))
        imported.sources += 1
        yield _Step(source, position, None, 0, bool(finished))


def _advance(run: Run, batch: Sequence[_Step]) -> None:
    """Write down how far each source of a recorded batch has been read."""
    if run.run_id is None:
        return
    last = {step.source.key: step for step in batch}
    with run.engine.begin() as conn:
        for key in sorted(last):
            advance(conn, key, last[key].position, run.run_id, last[key].finished)
