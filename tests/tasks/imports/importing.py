"""Files of events, imported once or twice, and a look at what became of the events."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from tasks.imports.event_grid_files import EventFile, find_files
from tasks.imports.importing import Imported, import_sources
from tasks.imports.source import Source
from tasks.runs import begin_run, conclude
from tests.dump import RUNS, dump
from tests.tasks.payloads import cloud_event, engagement
from worker.settings import WorkerSettings

ONE = "<1@example.com>"
EVENTS = [engagement(f"e{number}", internet_message_id=ONE) for number in range(5)]
LAYOUTS: dict[str, bytes] = {
    "array.json": json.dumps(EVENTS).encode(),
    "pretty.json": json.dumps(EVENTS, indent=2).encode(),
    "cloud.json": json.dumps([cloud_event(event) for event in EVENTS]).encode(),
    "lines.ndjson": "\n".join(map(json.dumps, EVENTS)).encode(),
    "requests.jsonl": "\n".join(json.dumps([event]) for event in EVENTS).encode() + b"\n",
    "lines.ndjson.gz": gzip.compress("\n".join(map(json.dumps, EVENTS)).encode()),
    "array.json.gz": gzip.compress(json.dumps(EVENTS).encode()),
}


def settings_of(database_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url}
    return WorkerSettings(**overrides)


def track(engine: Engine, message_id: str, campaign: int = 7) -> None:
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
                " VALUES (:id, :c, 'test')"
            ),
            {"id": message_id, "c": campaign},
        )


def files(*paths: Path) -> dict[str, Source]:
    return {path.name: EventFile.at(path) for path in find_files(paths)[0]}


def run(
    engine: Engine,
    settings: WorkerSettings,
    sources: Mapping[str, Source],
    *,
    again: bool = False,
    dry_run: bool = False,
) -> Imported:
    imported = Imported()
    with begin_run(engine, settings, "import", {}, dry_run=dry_run) as begun:
        for _ in import_sources(begun, sources, imported, again=again):
            pass
        conclude(begun, imported.summary())
    return imported


def twice(engine: Engine, settings: WorkerSettings, sources: Mapping[str, Source]) -> Imported:
    """Import ``sources`` as a rehearsal, in earnest, and from the beginning once more; return what the second did."""
    before = dump(engine)
    rehearsed = run(engine, settings, sources, dry_run=True)
    assert dump(engine) == before
    imported = run(engine, settings, sources)
    assert rehearsed == imported
    after = dump(engine, without=RUNS)
    again = run(engine, settings, sources, again=True)
    assert dump(engine, without=RUNS) == after
    assert again.known == imported.known + imported.adopted + imported.drained.parked + attributed(imported)
    assert (attributed(again), again.drained.parked, again.adopted) == (0, 0, 0)
    return imported


def attributed(imported: Imported) -> int:
    return sum(imported.drained.attributed.values())


def events(engine: Engine) -> dict[str, tuple[str, datetime, int | None]]:
    """Return state, received_at and run of each event, by its id."""
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT event_id, state, received_at, run_id FROM azure_engagement_events"
                " UNION ALL SELECT event_id, state, received_at, run_id FROM azure_delivery_events"
            )
        )
        return {row.event_id: (row.state, row.received_at, row.run_id) for row in rows}


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
