"""Imports: dead letters, files of events, and the replaced system's log, each exactly once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from db.engine import create_engine
from db.migrate import upgrade
from tasks.batch import Body, work
from tasks.imports.event_grid_files import EventFile, find_files
from tasks.imports.importing import Imported, import_sources
from tasks.imports.source import Source
from tasks.imports.webhook_logs import NoWebhookLogs, WebhookLogs
from tasks.runs import begin_run, conclude, pipelines_of
from tests.dump import RUNS, dump
from tests.migrations import replaced_system
from tests.tasks.payloads import AZURE_MESSAGE_ID, body_of, cloud_event, delivery, engagement
from worker.settings import WorkerSettings

ONE = "<1@example.com>"
#: What Event Grid adds to a dead letter, in its own schema and in CloudEvents; what wraps one of the namespace tier.
BASIC = {
    "deadLetterReason": "MaxDeliveryAttemptsExceeded",
    "deliveryAttempts": 30,
    "lastDeliveryOutcome": "NotFound",
    "publishTime": "2026-01-10T10:28:55.5Z",
    "lastDeliveryAttemptTime": "2026-01-11T10:30:00.1Z",
}
CLOUD = {key.lower(): value for key, value in BASIC.items()}
NAMESPACE = {"deadletterreason": "Maximum delivery attempts was exceeded.", "deliveryattempts": 1}


def settings_of(database_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url}
    return WorkerSettings(**overrides)


@pytest.fixture
def settings(database_url: str) -> WorkerSettings:
    return settings_of(database_url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    track(engine, ONE)
    yield engine
    engine.dispose()


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


def dead_letters(folder: Path) -> None:
    """Lay out dead letters as Azure does: three hours, of which sorting by name alone would mistake the order."""
    e1, d1 = engagement("e1", internet_message_id=ONE), delivery("d1", internet_message_id=ONE)
    e2 = engagement("e2", internet_message_id="<2@example.com>", messageId="5b1e3c44-0000-4000-8000-000000000002")
    e3 = engagement("e3", internet_message_id=ONE)
    container = folder / "deadletters" / "ATTRIBUTION"
    write(container / "2026/1/9/23/0c1d.json", json.dumps([{**e1, **BASIC}, {**d1, **BASIC}]))
    write(container / "2026/1/10/2/0b1d.json", json.dumps([{**cloud_event(e2), **CLOUD}]))
    write(
        container / "2026/1/10/11/0a1d.json",
        json.dumps([{"deadletterProperties": NAMESPACE, "event": cloud_event(e3)}]),
    )
    write(container / "2026/1/10/11/notes.txt", "not looked at")


def test_dead_letters_of_every_tier_and_casing_are_imported_from_azures_folders_oldest_first(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    dead_letters(tmp_path)
    assert list(files(tmp_path)) == ["0c1d.json", "0b1d.json", "0a1d.json"]
    imported = twice(engine, settings, files(tmp_path))
    assert imported.drained.attributed == {"internet_message_id": 3}
    assert (imported.drained.parked, imported.known, imported.sources) == (1, 0, 3)
    stored = events(engine)
    assert {event: state for event, (state, *_) in stored.items()} == {
        "e1": "attributed",
        "d1": "attributed",
        "e2": "parked",
        "e3": "attributed",
    }
    # Received when Event Grid says the event was sent, not today; brought by the first run.
    assert {at for _, at, _ in stored.values()} == {datetime(2026, 1, 10, 10, 28, 55, 253236, tzinfo=UTC)}
    assert len({run_id for *_, run_id in stored.values()}) == 1
    assert None not in {run_id for *_, run_id in stored.values()}


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


def test_an_event_that_does_not_say_when_it_was_sent_was_received_when_it_was_imported(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    timeless = {key: value for key, value in EVENTS[0].items() if key != "eventTime"}
    from_the_future = {**EVENTS[1], "eventTime": "2999-01-01T00:00:00Z"}
    published = {**{key: value for key, value in EVENTS[2].items() if key != "eventTime"}, **BASIC}
    run(engine, settings, files(write(tmp_path / "a.json", json.dumps([timeless, from_the_future, published]))))
    stored = events(engine)
    assert began <= stored["e0"][1] <= datetime.now(UTC)
    assert began <= stored["e1"][1] <= datetime.now(UTC)
    assert stored["e2"][1] == datetime(2026, 1, 10, 10, 28, 55, 500000, tzinfo=UTC)


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


def test_many_small_files_share_a_batch(engine: Engine, settings: WorkerSettings, tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / f"{number}.json", json.dumps(engagement(f"e{number}", internet_message_id=ONE)))
    sources = files(tmp_path)
    with begin_run(engine, settings, "import", {}, dry_run=False) as begun:
        assert len(list(import_sources(begun, sources, Imported()))) == 1
    with engine.begin() as conn:
        finished = conn.execute(text("SELECT count(*) FROM attribution_imports WHERE finished_at IS NOT NULL"))
        assert finished.scalar_one() == 30


# The replaced system's log.


@pytest.fixture
def taken_over(empty_database_url: str) -> Iterator[Engine]:
    """A database of the replaced system's last version, in listmonk's, that was migrated."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        replaced_system.install(connection, "v7.2", listmonk=True)
        connection.execute("TRUNCATE webhook_logs RESTART IDENTITY")
    upgrade(empty_database_url)
    engine = create_engine(empty_database_url, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def old_settings(empty_database_url: str) -> WorkerSettings:
    return settings_of(empty_database_url)


def log(engine: Engine, body: str | bytes | None, *, webhook_type: str = "azure", at: datetime | None = None) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("INSERT INTO webhook_logs (webhook_type, request_body, created_at) VALUES (:type, :body, :at)"),
            {"type": webhook_type, "body": body.decode() if isinstance(body, bytes) else body, "at": at},
        )


def old_row(engine: Engine, campaign: int | None, at: str = "2026-01-10T10:26:40.12Z") -> None:
    """Store a click as the replaced system's handler did, and may go on doing."""
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_engagement_events (azure_message_id, campaign_id, engagement_type, event_timestamp)"
                " VALUES (:message, :campaign, 'click', :at)"
            ),
            {"message": AZURE_MESSAGE_ID, "campaign": campaign, "at": at},
        )


def test_webhook_logs_are_imported_once_and_what_is_none_of_ours_is_skipped(
    taken_over: Engine, old_settings: WorkerSettings
) -> None:
    engine, settings = taken_over, old_settings
    track(engine, ONE, campaign=3)
    logged_at = datetime(2026, 1, 10, 10, 30, tzinfo=UTC)
    log(engine, body_of(EVENTS[0], delivery("d1", internet_message_id=ONE)), at=logged_at)
    log(engine, body_of({"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}))
    log(engine, body_of(EVENTS[1]), webhook_type="eventgrid", at=logged_at)
    log(engine, '{"Type": "Notification", "Message": "a bounce of another service"}', webhook_type="ses")
    log(engine, None)
    log(engine, body_of(EVENTS[2])[:-10], at=logged_at)
    log(engine, body_of(EVENTS[0]), at=logged_at)  # Event Grid sent it twice
    imported = twice(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert imported.drained.attributed == {"internet_message_id": 3}
    assert (imported.skipped, imported.known) == (3, 1)
    assert imported.drained.quarantined == {"not_json": 1}
    assert {at for _, at, _ in events(engine).values()} == {logged_at}
    log(engine, body_of(EVENTS[3]), at=logged_at)
    more = run(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert (more.bodies, attributed(more), more.known) == (1, 1, 0)


def test_what_the_replaced_system_stored_is_adopted_and_not_stored_again(
    taken_over: Engine, old_settings: WorkerSettings
) -> None:
    engine, settings = taken_over, old_settings
    track(engine, ONE, campaign=3)
    old_row(engine, campaign=1)  # credited to the wrong campaign: for a repair to put right
    old_row(engine, campaign=1)  # and stored once more
    old_row(engine, campaign=None, at="2026-01-10T10:27:00.123Z")  # the replaced system cut what was .123456
    log(
        engine,
        body_of(
            EVENTS[0], engagement("e1", internet_message_id=ONE, userActionTimestamp="2026-01-10T10:27:00.123456Z")
        ),
    )
    log(engine, body_of(engagement("e2", internet_message_id=ONE, userActionTimestamp="2026-01-10T10:28:00Z")))
    imported = twice(engine, settings, {"webhook_logs": WebhookLogs(engine)})
    assert (imported.adopted, imported.stored_twice, imported.known) == (2, 1, 0)
    assert (attributed(imported), imported.drained.released) == (1, 1)
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT event_id, campaign_id, internet_message_id, matched_by FROM azure_engagement_events ORDER BY id"
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        ("e0", 1, ONE, "replaced_system"),
        (None, 1, None, "replaced_system"),
        ("e1", 3, ONE, "internet_message_id"),
        ("e2", 3, ONE, "internet_message_id"),
    ]


def test_a_log_is_read_in_batches_that_fit_into_memory(
    taken_over: Engine, old_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cutting.BATCH_BYTES", 2000)
    monkeypatch.setattr("tasks.imports.webhook_logs._LISTED", 3)
    for number in range(10):
        log(taken_over, body_of(engagement(f"e{number}")))
    pieces = list(WebhookLogs(taken_over).read(4))
    assert [piece.position for piece in pieces] == [5, 6, 7, 8, 9, 10]
    assert run(taken_over, old_settings, {"webhook_logs": WebhookLogs(taken_over)}).drained.parked == 10


def test_a_database_without_the_log_is_refused(engine: Engine) -> None:
    with pytest.raises(NoWebhookLogs):
        WebhookLogs(engine).newest()


def test_an_event_that_the_drain_brings_meanwhile_is_known(
    engine: Engine, settings: WorkerSettings, tmp_path: Path
) -> None:
    sources = files(write(tmp_path / "array.json", LAYOUTS["array.json"]))
    work(pipelines_of(settings, None)["event"], engine, [Body(body_of(EVENTS[0]), None, datetime.now(UTC))])
    imported = run(engine, settings, sources)
    assert (attributed(imported), imported.known) == (4, 1)
    assert events(engine)["e0"][1] > datetime.now(UTC) - timedelta(hours=1)
