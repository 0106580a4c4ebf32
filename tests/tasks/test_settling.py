"""What waits is released in pieces: each committed by itself, so that whoever is killed has the rest left to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from db.models import MessageIds
from db.parking import release
from db.tracking import message_ids, track_messages
from tasks import settling
from tasks.context import Context
from tasks.settling import settle
from tests.db.rows import azure_id, click, message, record, report, stored


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "IDS", 3)
    monkeypatch.setattr(settling, "EVENTS", 3)


@pytest.fixture
def commits(engine: Engine) -> Iterator[list[int]]:
    """How many events were attributed at each commit."""
    seen: list[int] = []

    def note(conn: Any) -> None:
        attributed = "SELECT count(*) FROM azure_engagement_events WHERE state = 'attributed'"
        seen.append(conn.execute(text(attributed)).scalar_one())

    event.listen(engine, "commit", note)
    yield seen
    event.remove(engine, "commit", note)


def park_of_one_message(engine: Engine, events: int) -> MessageIds:
    with engine.begin() as conn:
        record(conn, *(click(f"e{number}") for number in range(events)))
        track_messages(conn, [message()])
    return message_ids([message()])


def states(engine: Engine) -> set[str]:
    return {state for state, *_ in stored(engine).values()}


def test_many_events_of_one_message_are_released_a_piece_a_transaction(ctx: Context, commits: list[int]) -> None:
    ids = park_of_one_message(ctx.engine, events=8)
    commits.clear()
    assert settle(ctx.engine, ctx.results, ids) == 8
    assert list(dict.fromkeys(commits)) == [3, 6, 8]
    assert states(ctx.engine) == {"attributed"}


def test_events_of_many_messages_are_released_a_piece_a_transaction(ctx: Context, commits: list[int]) -> None:
    messages = [message(f"<m{number}@example.com>") for number in range(8)]
    with ctx.engine.begin() as conn:
        record(conn, *(click(f"e{number}", f"<m{number}@example.com>") for number in range(8)))
        track_messages(conn, messages)
    commits.clear()
    assert settle(ctx.engine, ctx.results, message_ids(messages)) == 8
    assert list(dict.fromkeys(commits)) == [3, 6, 8]
    assert states(ctx.engine) == {"attributed"}


def test_whoever_is_killed_between_two_pieces_leaves_the_rest_to_the_next(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = park_of_one_message(ctx.engine, events=8)
    calls: list[int] = []

    def dies_at_the_third(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise SystemExit
        return release(*args, **options)

    with monkeypatch.context() as mortal:
        mortal.setattr(settling, "release", dies_at_the_third)
        with pytest.raises(SystemExit):
            settle(ctx.engine, ctx.results, ids)
    assert sorted(state for state, *_ in stored(ctx.engine).values()) == ["attributed"] * 6 + ["parked"] * 2
    assert settle(ctx.engine, ctx.results, ids) == 2
    assert states(ctx.engine) == {"attributed"}


def test_what_the_reports_of_each_piece_teach_is_released_as_well(ctx: Context) -> None:
    """Each message is tracked by its Message-ID; its opens carry Azure's id only, which its report ties to that."""
    numbers = range(1, 9)
    messages = [message(f"<m{number}@example.com>") for number in numbers]
    with ctx.engine.begin() as conn:
        record(
            conn,
            *(report(f"d{number}", f"<m{number}@example.com>", azure_id(number)) for number in numbers),
            *(click(f"e{number}", None, azure_id(number)) for number in numbers),
        )
        track_messages(conn, messages)
    assert settle(ctx.engine, ctx.results, message_ids(messages)) == 16
    assert {row for row in stored(ctx.engine).values()} == {("attributed", 7, 12, "delivery_report")}
