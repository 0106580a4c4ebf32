"""Files of events of every layout, whole, malformed or unreadable: each event once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tasks.imports.event_grid_files import EventFile
from tasks.imports.importing import Imported, import_sources
from tasks.runs import begin_run
from tests.dump import RUNS, dump
from tests.tasks.imports.importing import EVENTS, LAYOUTS, ONE, attributed, events, files, run, twice, write
from tests.tasks.payloads import cloud_event, engagement
from worker.settings import WorkerSettings


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_of_every_layout_are_imported_exactly_once(
    engine: Engine, settings: WorkerSettings, tmp_path: Path, name: str
) -> None:
    imported = twice(engine, settings, files(write(tmp_path / name, LAYOUTS[name])))
    assert imported.drained.attributed == {"internet_message_id": 5}
    assert set(events(engine)) == {f"e{number}" for number in range(5)}


def test_one_event_alone_is_a_file_too(engine: Engine, settings: WorkerSettings, tmp_path: Path) -> None:
    path = write(tmp_path / "event.json", json.dumps(cloud_event(EVENTS[0]), indent=4))
    assert attributed(twice(engine, settings, files(path))) == 1


def test_a_file_that_was_read_before_is_told_by_its_contents_whatever_its_name(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    one, copy = (EventFile.at(write(tmp_path / name, LAYOUTS["array.json"])) for name in ("a.json", "copy.json"))
    other = EventFile.at(write(tmp_path / "b.json", LAYOUTS["array.json"] + b"\n"))
    assert one.key == copy.key != other.key
    run(engine, settings, {"a.json": one})
    with engine.begin() as conn:
        rows = conn.execute(text("SELECT source, position, finished_at IS NOT NULL FROM attribution_imports")).all()
    assert [tuple(row) for row in rows] == [(one.key, 5, True)]
    before = dump(engine, without=RUNS)
    imported = run(engine, settings, {"copy.json": copy})
    assert (imported.bodies, dump(engine, without=RUNS)) == (0, before)


def test_the_malformed_are_quarantined_with_their_reason_the_foreign_skipped_and_the_good_go_through(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    handshake = {"id": "h", "topic": "/t", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}
    late = engagement("late", userActionTimestamp="2100-01-01T00:00:00Z")
    lines = [json.dumps(each) for each in (EVENTS[0], handshake, late, {"no": "event"})]
    path = write(tmp_path / "mixed.ndjson", "\n".join([*lines, '{"id": "broken", "data": {', json.dumps(EVENTS[1])]))
    imported = twice(engine, settings, files(path))
    assert imported.drained.attributed == {"internet_message_id": 2}
    assert imported.drained.ignored == 1
    assert imported.drained.quarantined == {"timestamp_out_of_range": 1, "event_type_invalid": 1, "not_json": 1}
    assert imported.unreadable == []
    with engine.begin() as conn:
        reasons = conn.execute(text("SELECT reason FROM attribution_quarantine")).scalars().all()
    assert sorted(reasons) == ["event_type_invalid", "not_json", "timestamp_out_of_range"]


def test_what_cannot_be_read_is_named_with_the_reason_and_the_others_go_on(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    whole = json.dumps(EVENTS)
    contents = {
        "1-cut.json": whole[: whole.index('"e2"')].encode(),
        "2-image.json": b"\x89PNG\r\n",
        "3-empty.json": b"",
        "4-cut.json.gz": gzip.compress(whole.encode())[:-20],
        "5-damaged.json.gz": b"\x1f\x8b" + b"\x00" * 50,
        "6-gone.json": whole.encode(),
        "7-good.json": json.dumps(EVENTS[3]).encode(),
    }
    for name, content in contents.items():
        write(tmp_path / name, content)
    sources = files(tmp_path)
    (tmp_path / "6-gone.json").unlink()
    imported = run(engine, settings, sources)
    assert imported.unreadable == [
        ("1-cut.json", "it ends in the middle of an event"),
        ("2-image.json", "it is no JSON of events: it begins with neither { nor ["),
        ("3-empty.json", "it is empty"),
        ("4-cut.json.gz", "it ends in the middle of what gzip compressed"),
        ("5-damaged.json.gz", "it is damaged"),
        ("6-gone.json", "no such file or directory"),
    ]
    assert {"e0", "e1", "e3"} <= set(events(engine))
    with engine.begin() as conn:
        finished = conn.execute(text("SELECT source FROM attribution_imports WHERE finished_at IS NOT NULL")).scalars()
        assert finished.all() == [sources["7-good.json"].key]
    before = dump(engine, without=RUNS)
    assert run(engine, settings, sources).unreadable == imported.unreadable
    assert dump(engine, without=RUNS) == before


def test_many_small_files_share_a_batch(engine: Engine, settings: WorkerSettings, tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / f"{number}.json", json.dumps(engagement(f"e{number}", internet_message_id=ONE)))
    sources = files(tmp_path)
    with begin_run(engine, settings, "import", {}, dry_run=False) as begun:
        assert len(list(import_sources(begun, sources, Imported()))) == 1
    with engine.begin() as conn:
        finished = conn.execute(text("SELECT count(*) FROM attribution_imports WHERE finished_at IS NOT NULL"))
        assert finished.scalar_one() == 30


def test_what_the_database_refuses_is_quarantined_alone_and_the_others_go_through(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE azure_engagement_events ADD CONSTRAINT sour CHECK (event_id <> 'e3')"))
    imported = run(engine, settings, files(write(tmp_path / "array.json", LAYOUTS["array.json"])))
    assert imported.drained.quarantined == {"refused_by_database": 1}
    assert set(events(engine)) == {"e0", "e1", "e2", "e4"}
