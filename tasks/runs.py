"""Runs: an operator's work through the pipelines, beside the drain's. A rehearsal is a run of which nothing stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from db.purging import slower_clock
from db.rehearsal import rehearse
from db.results import Results
from db.runs import finish_run, start_run
from tasks.batch import Drained, Pipeline
from tasks.context import make_results
from tasks.events import EventPipeline
from tasks.messages import MessagePipeline
from tasks.privacy.recipients import make_recipients
from worker.settings import WorkerSettings


@dataclass
class Run:
    """One run: where it works, with what, and under which number. A rehearsal has no number."""

    engine: Engine
    pipelines: Mapping[str, Pipeline[Any]]
    run_id: int | None = None


@contextmanager
def begin_run(
    engine: Engine,
    settings: WorkerSettings,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    dry_run: bool,
    older: bool = False,
) -> Iterator[Run]:
    """Yield a run of ``kind``, written down if it is no rehearsal.

    Events past their retention are left out, unless ``older`` says that they were never recorded before. The caller
    hands its summary to `conclude`; a run that is interrupted before stays `running`.
    """
    not_before = None
    if settings.event_retention is not None and not older:
        with engine.begin() as conn:
            not_before = slower_clock(conn) - settings.event_retention
    if dry_run:
        with rehearse(engine) as rehearsal:
            yield Run(rehearsal, pipelines_of(settings, None, dry_run=True, not_before=not_before))
        return
    with engine.begin() as conn:
        run_id = start_run(conn, kind, parameters)
    yield Run(engine, pipelines_of(settings, run_id, not_before=not_before), run_id)


def conclude(run: Run, summary: Mapping[str, Any]) -> None:
    """Write down that ``run`` came to its end, with what it did. Of a rehearsal nothing is written."""
    if run.run_id is not None:
        with run.engine.begin() as conn:
            finish_run(conn, run.run_id, summary)


def pipelines_of(
    settings: WorkerSettings, run_id: int | None, *, dry_run: bool = False, not_before: datetime | None = None
) -> dict[str, Pipeline[Any]]:
    """Return the pipelines of a run, by the kind of their bodies. The events they write carry ``run_id``."""
    results = make_results(settings, _NoResults if dry_run else Results)
    recipients = make_recipients(settings)
    return {
        "message": MessagePipeline(tracked_via="replay", results=results, recipients=recipients),
        "event": EventPipeline(
            first_wait=settings.park_schedule[0],
            jitter=settings.park_jitter_percent / 100,
            results=results,
            run_id=run_id,
            recipients=recipients,
            not_before=not_before,
        ),
    }


class _NoResults(Results):
    """The results of a rehearsal: none. Nothing it counts depends on them.

    Who writes them takes locks that every drain needs, and a rehearsal would hold those until its end.
    """

    def write(self, *_arguments: Any, **_named: Any) -> None:
        """Write nothing."""

    def compare_late(self, *_arguments: Any, **_named: Any) -> None:
        """Notice no disagreement: the log and the metrics would keep it when the incident itself is rolled back."""

    def absorb_native(self, *_arguments: Any, **_named: Any) -> int:
        """Let nothing be counted natively."""
        return 0


def counts_of(drained: Drained) -> dict[str, Any]:
    """Return what is not zero in ``drained``, for the summary of a run."""
    return {name: count for name, count in asdict(drained).items() if count}
