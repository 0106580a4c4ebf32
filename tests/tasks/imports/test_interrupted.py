"""Imports that are interrupted or killed, and an import beside the drain."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tasks.batch import Body, work
from tasks.imports.importing import Imported, import_sources
from tasks.runs import begin_run, pipelines_of
from tests.tasks.imports.importing import EVENTS, LAYOUTS, ONE, attributed, events, files, run, write
from tests.tasks.payloads import body_of, engagement
from worker.settings import WorkerSettings


def test_an_import_that_is_interrupted_goes_on_where_it_stopped(
    engine: Engine, settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cutting.BATCH_BODIES", 100)
    many = [engagement(f"e{number}", internet_message_id=ONE) for number in range(1000)]
    sources = files(write(tmp_path / "many.json", json.dumps(many)))
    interrupted = Imported()
    with begin_run(engine, settings, "import", {}, dry_run=False) as begun:
        steps = import_sources(begun, sources, interrupted)
        next(steps)
        next(steps)
        next(steps)
        steps.close()
    assert attributed(interrupted) == len(events(engine)) == 300
    rest = run(engine, settings, sources)
    assert (rest.bodies, attributed(rest), rest.known) == (700, 700, 0)
    assert len(events(engine)) == 1000


def test_an_import_killed_between_a_commit_and_its_note_reads_that_batch_twice_and_changes_nothing_by_it(
    engine: Engine, settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    sources = files(write(tmp_path / "array.json", LAYOUTS["array.json"]))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.imports.importing.advance", kill)
        with pytest.raises(Killed):
            run(engine, settings, sources)
    assert len(events(engine)) == 5
    resumed = run(engine, settings, sources)
    assert (attributed(resumed), resumed.known) == (0, 5)


def test_an_event_that_the_drain_brings_meanwhile_is_known(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    sources = files(write(tmp_path / "array.json", LAYOUTS["array.json"]))
    work(pipelines_of(settings, None)["event"], engine, [Body(body_of(EVENTS[0]), None, datetime.now(UTC))])
    imported = run(engine, settings, sources)
    assert (attributed(imported), imported.known) == (4, 1)
    assert events(engine)["e0"][1] > datetime.now(UTC) - timedelta(hours=1)
