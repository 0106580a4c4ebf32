"""`attribution import` and `attribution replay`, as an operator uses them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cli.main import main
from db.archive import keep
from db.engine import create_engine
from tasks.archiving import pack
from tasks.batch import Body, Drained, Pipeline, work
from tests.dump import RUNS, dump
from tests.tasks.payloads import RECEIVED_AT, body_of, delivery, engagement

ARCHIVE_PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
ONE = "<1@example.com>"
THE_DAY = ("--since", "2026-01-10", "--until", "2026-01-11")


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def attribution(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def lines(result: Result) -> dict[str, str]:
    """Return what stands behind each label."""
    shown = [line.split("  ", 1) for line in result.stdout.splitlines()]
    return {line[0]: " ".join(line[1].split()) for line in shown if len(line) == 2}


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def track(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, tracked_via)"
        f" VALUES ('{ONE}', 7, 'test')",
    )


def written(path: Path, *events: object) -> Path:
    path.write_bytes(body_of(*events))
    return path


def parked(number: int) -> dict[str, object]:
    """Return an event of a message that nobody tracks, by neither id."""
    azure = f"5b1e3c44-0000-4000-8000-{number:012}"
    return engagement(f"e{number}", internet_message_id=f"<{number}@example.com>", messageId=azure)


def test_an_import_says_what_was_new_known_malformed_and_skipped_and_the_second_changes_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    track(engine)
    one = engagement("e1", internet_message_id=ONE)
    foreign = {"id": "x", "topic": "/t", "eventType": "Microsoft.Storage.BlobCreated", "data": {}}
    path = written(tmp_path / "events.json", one, one, parked(2), {"no": "event"}, foreign)
    result = attribution("import", path)
    assert result.exit_code == 0
    assert lines(result) == {
        "sources read": "1",
        "new events, attributed": "1 internet_message_id 1",
        "new events, parked": "1 their messages are not tracked",
        "events that were known": "1",
        "malformed": "1 event_type_invalid 1",
        "skipped": "1 none of the events that we follow",
    }
    before = dump(engine)
    assert lines(attribution("import", path)) == {
        "files imported before": "1 --again reads them once more",
        "new events, attributed": "0",
        "new events, parked": "0",
    }
    assert dump(engine) == before
    assert lines(attribution("import", "--again", path))["events that were known"] == "3"
    assert dump(engine, without=RUNS) == {table: rows for table, rows in before.items() if table not in RUNS}


def test_what_may_have_been_counted_and_removed_is_left_out_unless_it_never_was_recorded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTRIBUTION_EVENT_RETENTION", "P90D")
    track(engine)
    now = datetime.now(UTC)
    old, young = ((now - timedelta(days=days)).isoformat() for days in (91, 89))
    path = written(
        tmp_path / "events.json",
        engagement("old", internet_message_id=ONE, userActionTimestamp=old),
        delivery("old too", internet_message_id=ONE, deliveryAttemptTimestamp=old),
        engagement("young", internet_message_id=ONE, userActionTimestamp=young),
    )
    first = lines(attribution("import", path))
    assert first["too old"].split()[0] == "2"
    assert first["new events, attributed"].split()[0] == "1"
    second = lines(attribution("import", path, "--older", "--again"))
    assert "too old" not in second
    assert second["new events, attributed"].split()[0] == "2"
    assert second["events that were known"].split()[0] == "1"


def test_a_dry_run_of_an_import_shows_the_same_and_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    track(engine)
    path = written(tmp_path / "events.json", engagement("e1", internet_message_id=ONE), parked(2))
    before = dump(engine)
    rehearsed = attribution("import", "--dry-run", path)
    assert dump(engine) == before
    assert rehearsed.stdout.endswith("A dry run: nothing was changed.\n")
    assert lines(attribution("import", path)) == lines(rehearsed)


def test_a_folder_is_searched_and_a_file_that_cannot_be_read_is_named_while_the_others_go_on(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub" / "good.json", parked(1))
    cut = written(tmp_path / "cut.json", parked(2), parked(3))
    cut.write_bytes(cut.read_bytes()[:-40])
    result = attribution("import", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"{cut} could not be read: it ends in the middle of an event.\n"
    assert lines(result)["new events, parked"].startswith("2 ")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be read by root")
def test_a_file_that_may_not_be_read_is_named(engine: Engine, tmp_path: Path) -> None:
    closed = written(tmp_path / "closed.json", parked(1))
    closed.chmod(0)
    result = attribution("import", closed)
    assert (result.exit_code, result.stderr) == (1, f"{closed} could not be read: permission denied.\n")


def test_an_import_of_nothing_says_what_to_give(engine: Engine, tmp_path: Path) -> None:
    assert "Name files or folders, or give --webhook-logs." in attribution("import").stderr
    assert "There is no file of events there" in attribution("import", tmp_path).stderr
    assert "does not exist" in attribution("import", tmp_path / "gone.json").stderr
    absent = attribution("import", "--webhook-logs")
    assert (absent.exit_code, absent.stderr) == (
        1,
        "This database holds no webhook_logs of the replaced system. Check ATTRIBUTION_DATABASE_URL.\n",
    )


def test_webhook_logs_go_on_behind_the_last_row_read(engine: Engine) -> None:
    execute(
        engine,
        "CREATE TABLE webhook_logs (id bigserial PRIMARY KEY, webhook_type text, request_body text,"
        " created_at timestamptz DEFAULT now())",
    )
    insert = "INSERT INTO webhook_logs (webhook_type, request_body) VALUES ('azure', '{}')"
    execute(engine, insert.format(json.dumps([parked(1)])))
    execute(engine, "INSERT INTO webhook_logs (webhook_type, request_body) VALUES ('ses', 'no JSON')")
    first = lines(attribution("import", "--webhook-logs"))
    assert first["new events, parked"].startswith("1 ")
    assert first["skipped"].startswith("1 ")
    before = dump(engine)
    assert lines(attribution("import", "--webhook-logs")) == {"new events, attributed": "0", "new events, parked": "0"}
    assert dump(engine) == before
    execute(engine, insert.format(json.dumps([parked(2)])))
    assert lines(attribution("import", "--webhook-logs"))["new events, parked"].startswith("1 ")


def test_an_interrupted_import_says_that_the_same_command_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "events.json", *map(parked, range(4)))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.cutting.BATCH_BODIES", 2)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.imports.importing.count_stored_twice", interrupt)
        result = attribution("import", path)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Stopped. What was imported stays. The same command goes on from here." in result.stderr


# Replay.


def archive(engine: Engine, *events: object) -> None:
    with engine.begin() as conn:
        keep(conn, "event", pack([Body(body_of(*events), None, RECEIVED_AT)]))


def test_a_replay_says_what_came_back_and_the_second_that_all_is_known(engine: Engine) -> None:
    track(engine)
    archive(engine, engagement("e1", internet_message_id=ONE), parked(2))
    before = dump(engine)
    rehearsed = attribution("replay", *THE_DAY, "--dry-run")
    assert dump(engine) == before
    result = attribution("replay", *THE_DAY)
    assert result.exit_code == 0
    assert lines(result) == {
        "bodies replayed": "1",
        "new trackings": "0",
        "trackings that were known": "0",
        "trackings that were refused": "0",
        "new events, attributed": "1 internet_message_id 1",
        "new events, parked": "1 their messages are not tracked",
        "events that were known": "0",
        "malformed": "0",
    }
    assert lines(rehearsed) == lines(result)
    assert "A dry run: nothing was changed." in rehearsed.stdout
    after = dump(engine, without=RUNS)
    assert lines(attribution("replay", *THE_DAY))["events that were known"] == "2"
    assert dump(engine, without=RUNS) == after


def test_a_time_of_which_nothing_is_kept_is_answered_with_what_is(engine: Engine) -> None:
    assert attribution("replay", "--since", "7d").output == "Nothing of that time is in the archive, which is empty.\n"
    archive(engine, parked(1))
    assert attribution("replay", "--since", "2020-01-01", "--until", "2020-01-02").output == (
        "Nothing of that time is in the archive, which holds what came from 2026-01-10T10:30:00Z to"
        " 2026-01-10T10:30:00Z.\n"
    )
    assert "--since has to be before --until" in attribution("replay", "--since", "1h", "--until", "2h").stderr


def test_after_an_interrupted_replay_the_command_that_it_prints_leaves_nothing_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the archive overlap: the second holds what came before the last body of the first."""
    for number, minutes in ((0, (0, 60)), (2, (1, 90))):
        batch = [
            Body(body_of(parked(number + n)), None, RECEIVED_AT + timedelta(minutes=after))
            for n, after in enumerate(minutes)
        ]
        with engine.begin() as conn:
            keep(conn, "event", pack(batch))
    monkeypatch.setattr("tasks.cutting.BATCH_BODIES", 1)

    calls = iter([work])

    def interrupted(pipeline: Pipeline[Any], engine: Engine, bodies: Sequence[Body]) -> Drained:
        step = next(calls, None)
        if step is None:
            raise KeyboardInterrupt
        return step(pipeline, engine, bodies)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.replay.work", interrupted)
        result = attribution("replay", *THE_DAY)
    assert result.exit_code == 130
    said, _, command = result.stderr.strip().partition(" To go on: ")
    assert said == "Stopped. What was replayed stays, and is known the next time."
    assert command == "attribution replay --since 2026-01-10T00:00:00Z --until 2026-01-11T00:00:00Z"
    shown = lines(attribution(*command.split()[1:]))
    assert (shown["new events, parked"].split()[0], shown["events that were known"]) == ("2", "2")


def test_a_replay_says_what_trackings_were_completed_and_refused_each_counted_once(engine: Engine) -> None:
    """One of a message that is tracked for another campaign; one that brings the Azure id to a known message."""
    track(engine)
    azure_id = "5b1e3c44-0000-4000-8000-000000000001"
    trackings = [
        {"internet_message_id": ONE, "campaign_id": 8},
        {"internet_message_id": ONE, "campaign_id": 7, "azure_message_id": azure_id},
        {"internet_message_id": "<2@example.com>", "campaign_id": 7},
    ]
    with engine.begin() as conn:
        keep(conn, "message", pack([Body(json.dumps(each).encode(), None, RECEIVED_AT) for each in trackings]))
    shown = lines(attribution("replay", *THE_DAY))
    assert {name: shown[name] for name in shown if "trackings" in name} == {
        "new trackings": "1",
        "trackings that were known": "1 of which 1 were completed",
        "trackings that were refused": "1 tracked for another campaign or subscriber",
    }


def test_with_a_webhook_in_this_shell_what_comes_back_is_told_and_else_is_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(engine)
    for event, told in (("e1", 0), ("e2", 1)):
        if told:
            monkeypatch.setenv("ATTRIBUTION_WEBHOOK_URL", "https://hooks.example.com/")
            monkeypatch.setenv("ATTRIBUTION_WEBHOOK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        archive(engine, engagement(event, internet_message_id=ONE))
        assert lines(attribution("replay", *THE_DAY))["new events, attributed"].startswith("1 ")
        with engine.begin() as conn:
            assert conn.execute(text("SELECT count(*) FROM attribution_outbox")).scalar_one() == told


def test_what_the_documentation_deletes_are_old_runs_and_none_that_could_be_undone(
    engine: Engine, tmp_path: Path
) -> None:
    archive(engine, parked(1))
    attribution("replay", *THE_DAY)
    attribution("import", written(tmp_path / "events.json", parked(2)))
    execute(
        engine,
        "INSERT INTO attribution_runs (kind, parameters) VALUES ('repair', '{}'), ('backfill', '{}');"
        "UPDATE attribution_runs SET state = 'finished', finished_at = now() - interval '2 years'"
        " WHERE kind <> 'backfill';"
        "INSERT INTO attribution_runs (kind, state, parameters, finished_at)"
        " VALUES ('import', 'finished', '{}', now());"
        "INSERT INTO attribution_journal (run_id, table_name, row_id, reason)"
        " SELECT id, 'azure_engagement_events', 1, 'test' FROM attribution_runs WHERE kind = 'repair'",
    )
    (cleaning,) = re.findall(r"```sql\nBEGIN;\n(.*?)COMMIT;", ARCHIVE_PAGE.read_text(), re.DOTALL)
    execute(engine, cleaning)
    with engine.begin() as conn:
        assert conn.execute(text("SELECT kind FROM attribution_runs ORDER BY id")).scalars().all() == [
            "repair",
            "backfill",
            "import",
        ]
    path = tmp_path / "events.json"
    assert lines(attribution("import", path))["events that were known"] == "1"  # read again, and nothing comes of it


def test_a_damaged_row_of_the_archive_is_named_and_fails_the_command(engine: Engine) -> None:
    archive(engine, parked(1))
    execute(engine, "UPDATE attribution_archive SET content = 'damaged'")
    result = attribution("replay", *THE_DAY)
    assert result.exit_code == 1
    assert "1 rows of attribution_archive cannot be read" in result.stderr
