"""Dead letters, as Azure lays them out, and the time at which their events were received."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from tests.tasks.imports.importing import EVENTS, ONE, events, files, run, twice, write
from tests.tasks.payloads import cloud_event, delivery, engagement
from worker.settings import WorkerSettings

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
