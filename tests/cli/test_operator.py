"""`attribution parked` and `attribution quarantine`, as an operator uses them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from sqlalchemy import Engine

from cli.main import main
from cli.parked_view import show_events
from db.engine import create_engine
from db.models import State
from db.parking import EVENT_TABLES, list_waiting
from db.quarantine import quarantine
from tasks.eventgrid import malformed
from tasks.reasons import Reason
from tests.db.rows import azure_id, click, record, report, stored


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "240")
    engine = create_engine(database_url, for_batches=True)
    with engine.begin() as conn:
        record(conn, click("e1", "<a@example.com>"), click("e2", None, azure_id(1)), report("d1", "<a@example.com>"))
    yield engine
    engine.dispose()


def attribution(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_parked_lists_what_waits_since_when_its_next_attempt_and_why(engine: Engine) -> None:
    shown = attribution("parked").output
    lines = {line.split()[0]: line for line in shown.splitlines() if line.startswith(("e", "d"))}
    assert lines["e1"].split()[1:3] == ["engagement", "<a@example.com>"]
    assert "no message with this Message-ID is tracked" in lines["e1"]
    assert "carries Azure's id only" in lines["e2"]
    assert lines["d1"].split()[1] == "delivery"
    assert " s ago" in lines["e1"]
    assert " in " in lines["e1"]
    assert "3 parked; the oldest since 0 s ago." in shown


def test_the_list_says_how_many_it_left_out(engine: Engine) -> None:
    shown = attribution("parked", "--limit", "1").output
    assert shown.splitlines()[-1] == "1 of 3 parked; --limit 3 shows all; the oldest since 0 s ago."


@pytest.mark.parametrize("width", [240, 100, 60])
def test_ids_stay_whole_however_narrow_it_is(width: int, engine: Engine) -> None:
    event_id = "8a1f0c52-0000-4000-8000-000000000007"
    message_id = f"<{'m' * 60}[bold]@example.com>"
    with engine.begin() as conn:
        record(conn, click(event_id, message_id))
        waiting = list_waiting(conn, EVENT_TABLES[1], state=State.PARKED, limit=9)
    screen = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    show_events(screen, [(EVENT_TABLES[1], row) for row in waiting], 9)
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert event_id in said
    assert message_id in said
    assert "no message with this" in said
    assert ("next attempt  why" in said) == (width == 240)


def test_one_some_or_all_are_expired_and_retried(engine: Engine) -> None:
    assert attribution("parked", "expire", "e1").output == "1 event expired now.\n"
    assert attribution("parked", "expire", "--message", "a@EXAMPLE.com").output == "1 event expired now.\n"
    assert "2 expired" in attribution("parked", "--expired").output
    assert "an operator expired it" in attribution("parked", "--expired").output
    assert attribution("parked", "retry", "--all").output.startswith("3 events due now")
    assert {state for state, *_ in stored(engine).values()} == {"parked"}


@pytest.mark.parametrize("arguments", [(), ("e1", "--all"), ("--message", "two words")])
def test_an_unclear_choice_changes_nothing_and_says_what_to_give(engine: Engine, arguments: tuple[str, ...]) -> None:
    result = attribution("parked", "expire", *arguments)
    assert result.exit_code == 2
    assert "Error" in result.output
    assert {state for state, *_ in stored(engine).values()} == {"parked"}


def test_quarantine_counts_lists_and_shows(engine: Engine) -> None:
    assert attribution("quarantine").output == "Nothing is in quarantine.\n"
    bodies = (b"\xff\x00 junk", b"more junk")
    with engine.begin() as conn:
        parts = [malformed("event", Reason.NOT_JSON, None, body, "1-0", datetime.now(UTC)) for body in bodies]
        assert quarantine(conn, parts) == 2
        assert quarantine(conn, parts) == 0  # the same bytes are kept once
        quarantine(conn, [malformed("message", Reason.TRACKING_INVALID, "why", b"x", None, datetime.now(UTC))])
    listed = attribution("quarantine").output
    assert "not_json" in listed
    assert "junk" not in listed
    only = attribution("quarantine", "--reason", "tracking_invalid").output.rpartition("number")[2]
    assert "why" in only
    assert "not_json" not in only
    shown = CliRunner().invoke(main, ["quarantine", "show", "1"]).stdout_bytes
    assert shown in bodies
    assert attribution("quarantine", "show", "99").exit_code == 2


def test_a_database_that_was_never_migrated_is_refused_with_a_sentence(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", empty_database_url)
    result = attribution("parked")
    assert result.exit_code == 1
    assert "attribution migrate" in result.output
