"""Where the machines work: the production pipelines on a database of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text

from db.archive import Window
from tasks import parked
from tasks.batch import Body, work
from tasks.context import Context, make_context
from tasks.imports.event_grid_files import EventFile
from tasks.imports.importing import Imported, import_sources
from tasks.replay import Replayed, replay
from tasks.runs import begin_run, conclude
from tests.tasks.payloads import RECEIVED_AT

_EVER: Final = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@dataclass
class Workplace:
    """The pipelines as a worker has them; each is handed the engine that it is to work with."""

    ctx: Context
    folder: Path
    #: What the sweep's task finds as its context.
    sweeping: list[Context]
    _ticks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def afresh(self) -> Workplace:
        """Return the same with processes that have just begun, and know nothing of listmonk's settings yet."""
        return replace(
            self, ctx=replace(make_context(self.ctx.settings), engine=self.ctx.engine, presence=self.ctx.presence)
        )

    def body(self, content: bytes) -> Body:
        """Return an entry of a stream, received later than all before it."""
        tick = next(self._ticks)
        return Body(content, f"{tick}-0", RECEIVED_AT + timedelta(seconds=tick))

    def drain(self, engine: Engine, stream: str, bodies: Sequence[Body]) -> None:
        """Do to a batch what a drain does before it acknowledges."""
        work(self.ctx.pipelines[stream], engine, bodies)

    def sweep(self, engine: Engine) -> None:
        """Run the task once."""
        self.sweeping[:] = [replace(self.ctx, engine=engine)]
        parked.sweep_parked.run()

    def replay(self, engine: Engine, *, dry_run: bool = False) -> None:
        """Replay all of the archive."""
        replayed = Replayed()
        with begin_run(engine, self.ctx.settings, "replay", {}, dry_run=dry_run) as run:
            for _ in replay(self.ctx.engine, run, _EVER, replayed):
                pass
            conclude(run, replayed.summary())
        assert not replayed.unreadable

    def import_file(self, engine: Engine, content: bytes) -> None:
        """Import a file of events; the same once more goes on where it was interrupted."""
        path = self.folder / "events.json"
        path.write_bytes(content)
        imported = Imported()
        with begin_run(engine, self.ctx.settings, "import", {}, dry_run=False) as run:
            for _ in import_sources(run, {path.name: EventFile.at(path)}, imported):
                pass
            conclude(run, imported.summary())
        assert not imported.unreadable

    def change(self, statement: str, **parameters: object) -> None:
        """Let another program, or the time, change the database."""
        with self.ctx.engine.begin() as conn:
            conn.execute(text(statement), parameters)
