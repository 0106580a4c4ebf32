"""Replay: what is missing comes back from the archive, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text

from db.archive import Window, keep
from db.engine import create_engine
from simulator import listmonk
from tasks.archiving import pack
from tasks.batch import Body, work
from tasks.replay import Replayed, replay
from tasks.runs import begin_run, conclude, pipelines_of
from tests.dump import COUNTS, RUNS, dump
from tests.tasks.payloads import RECEIVED_AT, body_of, delivery, engagement
from worker.settings import WorkerSettings

DAY = Window(RECEIVED_AT - timedelta(hours=12), RECEIVED_AT + timedelta(hours=12))


@pytest.fixture
def settings(database_url: str) -> WorkerSettings:
    overrides: dict[str, Any] = {"database_url": database_url}
    return WorkerSettings(**overrides)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def tracking(number: int) -> bytes:
    return json.dumps({"internet_message_id": f"<{number}@example.com>", "campaign_id": 7, "subscriber_id": 9}).encode()


def bodies(*contents: bytes, minutes: float = 0) -> list[Body]:
    """Return bodies that came a second apart, beginning so many minutes after `RECEIVED_AT`."""
    first = RECEIVED_AT + timedelta(minutes=minutes)
    return [Body(content, f"{n}-0", first + timedelta(seconds=n)) for n, content in enumerate(contents)]


ONE = {"internet_message_id": "<1@example.com>"}
#: Of messages that other events are not of, by neither id.
TWO = {"internet_message_id": "<2@example.com>", "messageId": "5b1e3c44-0000-4000-8000-000000000002"}
THREE = {"internet_message_id": "<3@example.com>", "messageId": "5b1e3c44-0000-4000-8000-000000000003"}

EVENTS = bodies(
    body_of(engagement("e1", **ONE), delivery("d1", **ONE)),
    body_of(engagement("e2", **TWO), {"no": "event"}),
    b"no JSON",
    minutes=1,
)
LATER_EVENTS = bodies(body_of(engagement("e1", **ONE), engagement("e3", **THREE)), minutes=2)
MESSAGES = bodies(tracking(1), tracking(2))


def archive(engine: Engine, kind: str, batch: list[Body]) -> None:
    with engine.begin() as conn:
        keep(conn, kind, pack(batch))


def drain(engine: Engine, settings: WorkerSettings) -> None:
    """Do what the drain does with these batches, the archive included."""
    for kind, batch in (("message", MESSAGES), ("event", EVENTS), ("event", LATER_EVENTS)):
        work(pipelines_of(settings, None)[kind], engine, batch)
        archive(engine, kind, batch)


def run(engine: Engine, settings: WorkerSettings, window: Window = DAY, *, dry_run: bool = False) -> Replayed:
    replayed = Replayed()
    with begin_run(engine, settings, "replay", {}, dry_run=dry_run) as begun:
        for _ in replay(engine, begun, window, replayed):
            pass
        conclude(begun, replayed.summary())
    return replayed


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        assert conn.execute(text(statement)).rowcount == 1


def events(engine: Engine) -> dict[str, tuple[str, int | None, int | None]]:
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT event_id, state, campaign_id, run_id FROM azure_engagement_events"
                " UNION ALL SELECT event_id, state, campaign_id, run_id FROM azure_delivery_events"
            )
        )
        return {row.event_id: (row.state, row.campaign_id, row.run_id) for row in rows}


def test_a_replay_of_what_is_all_there_changes_nothing(engine: Engine, settings: WorkerSettings) -> None:
    drain(engine, settings)
    before = dump(engine, without=RUNS)
    for _ in range(2):
        replayed = run(engine, settings)
        assert dump(engine, without=RUNS) == before
        assert (replayed.bodies, replayed.drained.duplicates, replayed.drained.known) == (6, 5, 2)
        assert replayed.drained.quarantined == {"event_type_invalid": 1, "not_json": 1}
        assert not replayed.drained.attributed


def test_one_event_and_one_tracking_that_are_missing_come_back_and_nothing_else(
    engine: Engine, settings: WorkerSettings
) -> None:
    drain(engine, settings)
    before = dump(engine, without=RUNS | COUNTS)
    execute(engine, "DELETE FROM azure_engagement_events WHERE event_id = 'e1'")
    execute(engine, "DELETE FROM azure_message_tracking WHERE internet_message_id = '<2@example.com>'")
    replayed = run(engine, settings)
    assert replayed.drained.attributed == {"internet_message_id": 1}
    assert (replayed.drained.tracked, replayed.drained.known, replayed.drained.duplicates) == (1, 1, 4)
    after = dump(engine, without=RUNS | COUNTS)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"azure_engagement_events", "azure_message_tracking"}
    for table in changed:
        assert len(set(before[table]) - set(after[table])) == len(set(after[table]) - set(before[table])) == 1
    with engine.begin() as conn:
        (run_id,) = conn.execute(text("SELECT id FROM attribution_runs")).scalars()
    stored = events(engine)
    assert stored["e1"] == ("attributed", 7, run_id)  # the run that brought it back
    assert {event: run for event, (_, _, run) in stored.items() if event != "e1"} == {
        "d1": None,
        "e2": None,
        "e3": None,
    }


def test_messages_are_replayed_first_so_that_into_an_empty_database_fewer_events_park(
    engine: Engine, settings: WorkerSettings
) -> None:
    archive(engine, "event", EVENTS)
    archive(engine, "event", LATER_EVENTS)
    archive(engine, "message", bodies(tracking(1), tracking(2), minutes=60))
    replayed = run(engine, settings)
    assert {event: state for event, (state, _, _) in events(engine).items()} == {
        "e1": "attributed",
        "d1": "attributed",
        "e2": "attributed",
        "e3": "parked",
    }
    assert (replayed.drained.tracked, replayed.drained.parked, replayed.drained.released) == (2, 1, 0)


def test_a_tracking_that_comes_back_releases_what_waits_for_it(engine: Engine, settings: WorkerSettings) -> None:
    work(pipelines_of(settings, None)["event"], engine, EVENTS)
    archive(engine, "message", MESSAGES)
    assert run(engine, settings).drained.released == 3
    assert {state for state, _, _ in events(engine).values()} == {"attributed"}


def test_a_dry_run_counts_what_the_run_then_does_and_leaves_no_trace(engine: Engine, settings: WorkerSettings) -> None:
    """Among it what batches rolled back one by one would miscount: e1 twice, and e2 by the tracking that came back."""
    for batch in (EVENTS, LATER_EVENTS):
        archive(engine, "event", batch)
    archive(engine, "message", MESSAGES)
    three = json.dumps({"azure_message_id": THREE["messageId"], "campaign_id": 8}).encode()
    archive(engine, "message", bodies(three, minutes=3))
    work(pipelines_of(settings, None)["event"], engine, LATER_EVENTS)
    before = dump(engine)
    rehearsed = run(engine, settings, dry_run=True)
    assert dump(engine) == before
    replayed = run(engine, settings)
    assert rehearsed == replayed
    assert replayed.drained.attributed == {"internet_message_id": 2}
    assert (replayed.drained.released, replayed.drained.duplicates, replayed.drained.tracked) == (2, 3, 3)
    assert dump(engine) != before


def test_batches_by_copy_and_by_parameters_are_rehearsed_alike(
    engine: Engine, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary table, emptied by commits alone, must not carry events from one rehearsed batch into the next."""
    for batch in (EVENTS, LATER_EVENTS):
        archive(engine, "event", batch)
    work(pipelines_of(settings, None)["event"], engine, bodies(body_of(engagement("e1", userAgent="Mail/1", **ONE))))
    monkeypatch.setattr("db.events.SMALL_BATCH", 0)
    monkeypatch.setattr("tasks.cutting.BATCH_BODIES", 1)
    rehearsed = run(engine, settings, dry_run=True)
    assert rehearsed.drained.contradictions == 2
    assert rehearsed == run(engine, settings)


def test_only_bodies_of_the_window_are_replayed(engine: Engine, settings: WorkerSettings) -> None:
    batch = bodies(*(body_of(engagement(f"e{n}")) for n in range(5)))
    archive(engine, "event", batch)
    window = Window(batch[1].received_at, batch[3].received_at)
    assert run(engine, settings, window).bodies == 2
    assert set(events(engine)) == {"e1", "e2"}


def test_a_replay_that_is_stopped_has_done_what_it_says_and_the_next_does_the_rest(
    engine: Engine, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cutting.BATCH_BODIES", 1)
    for number in range(4):
        archive(engine, "event", bodies(body_of(engagement(f"e{number}")), minutes=number))
    replayed = Replayed()
    with begin_run(engine, settings, "replay", {}, dry_run=False) as begun:
        steps = replay(engine, begun, DAY, replayed)
        next(steps)
        next(steps)
        steps.close()
    assert (replayed.bodies, replayed.drained.parked) == (2, 2)
    assert set(events(engine)) == {"e0", "e1"}
    rest = run(engine, settings)
    assert (rest.drained.parked, rest.drained.duplicates) == (2, 2)
    assert set(events(engine)) == {"e0", "e1", "e2", "e3"}
    with engine.begin() as conn:
        states = conn.execute(text("SELECT state, summary ->> 'bodies' FROM attribution_runs ORDER BY id")).all()
    assert [tuple(row) for row in states] == [("running", None), ("finished", "4")]


def test_a_damaged_row_is_named_and_the_others_are_replayed(engine: Engine, settings: WorkerSettings) -> None:
    drain(engine, settings)
    execute(engine, "UPDATE attribution_archive SET content = content || '!' WHERE kind = 'message'")
    replayed = run(engine, settings)
    with engine.begin() as conn:
        damaged = conn.execute(text("SELECT id FROM attribution_archive WHERE kind = 'message'")).scalars().all()
    assert replayed.unreadable == damaged
    assert replayed.bodies == 4


def test_what_a_rehearsal_would_insert_does_not_keep_others_from_working(
    engine: Engine, settings: WorkerSettings
) -> None:
    drain(engine, settings)
    execute(engine, "DELETE FROM azure_engagement_events WHERE event_id = 'e1'")
    other = create_engine(settings.database_url.get_secret_value(), for_batches=True)
    with begin_run(engine, settings, "replay", {}, dry_run=True) as rehearsal:
        for _ in replay(engine, rehearsal, DAY, Replayed()):
            pass
        live = body_of(engagement("e9", internet_message_id="<1@example.com>"), delivery("d1"))
        drained = work(pipelines_of(settings, None)["event"], other, bodies(live))
    other.dispose()
    assert drained.attributed == {"internet_message_id": 1}
    assert "e1" not in events(engine)


def test_in_listmonks_database_a_rehearsal_counts_the_same_and_holds_up_no_drain(listmonk_database_url: str) -> None:
    """Who counts an act beside a native one takes a lock that every drain needs; a rehearsal would keep it for long."""
    overrides: dict[str, Any] = {"database_url": listmonk_database_url}
    settings = WorkerSettings(**overrides)
    engine, other = (create_engine(listmonk_database_url, for_batches=True) for _ in range(2))
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        listmonk.view(connection, 7, 9, datetime.fromisoformat("2026-01-10T10:26:41Z"))
    archive(engine, "message", MESSAGES)
    archive(engine, "event", bodies(body_of(engagement("e1", engagementType="view", **ONE))))
    marks = {"attribution_native_marks"} | COUNTS  # which the live batch makes
    before = dump(engine, without=marks)
    rehearsed = Replayed()
    with begin_run(engine, settings, "replay", {}, dry_run=True) as rehearsal:
        for _ in replay(engine, rehearsal, DAY, rehearsed):
            pass
        work(pipelines_of(settings, None)["message"], other, bodies(tracking(3)))
        view = engagement("e3", engagementType="view", internet_message_id="<3@example.com>")
        assert work(pipelines_of(settings, None)["event"], other, bodies(body_of(view))).attributed
        with other.begin() as conn:
            assert conn.execute(text("SELECT uncounted FROM azure_engagement_events")).scalar_one() == "native"
            conn.execute(text("DELETE FROM azure_engagement_events"))
            conn.execute(text("DELETE FROM azure_message_tracking"))
    assert dump(engine, without=marks) == before
    assert run(engine, settings) == rehearsed
    assert rehearsed.drained.attributed == {"internet_message_id": 1}
    engine.dispose()
    other.dispose()


def test_a_rehearsal_raises_no_alarm_about_what_it_rolls_back(
    listmonk_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A click that its link attributed, and a tracking of its message that says otherwise: noticed in earnest only."""
    overrides: dict[str, Any] = {"database_url": listmonk_database_url}
    settings = WorkerSettings(**overrides)
    engine = create_engine(listmonk_database_url, for_batches=True)
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        url = listmonk.tracked_link(connection, listmonk.link(connection, "https://www.example.com/offer"), 8, 9)
    work(pipelines_of(settings, None)["event"], engine, bodies(body_of(engagement("e1", engagementContext=url, **ONE))))
    assert events(engine)["e1"][:2] == ("attributed", 8)
    archive(engine, "message", MESSAGES)
    before = dump(engine)
    noticed = partial(REGISTRY.get_sample_value, "attribution_incidents_total", {"kind": "keys_disagree"})
    at_first = noticed() or 0
    run(engine, settings, dry_run=True)
    assert (noticed() or 0, caplog.messages) == (at_first, [])
    assert dump(engine) == before
    run(engine, settings)
    assert noticed() == at_first + 1
    assert caplog.messages == ["1 clicks name another campaign or reader by their link than by their message"]
    engine.dispose()
