"""`attribution events`, as people and their programs use it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from cli import events
from cli.main import main
from tests.cli.results.conftest import NOW
from tests.cli.results.reading import attribution, rows_of, z

FORMULA = "=HYPERLINK(1)"


def test_events_as_csv_are_the_rows_oldest_first(engine: Engine) -> None:
    rows = rows_of(attribution("events", "--campaign", "65").stdout)
    assert tuple(rows[0]) == events.COLUMNS
    assert [row["event_id"] for row in rows] == ["report 1", "report 2", "open 1", "click 1", "click 2", "open 2"]
    assert rows[2] == {
        "event_id": "open 1",
        "kind": "open",
        "status": "",
        "internet_message_id": "<a@example.com>",
        "azure_message_id": "",
        "campaign_id": "65",
        "subscriber_id": "1",
        "event_timestamp": z(NOW - timedelta(days=2)),
        "received_at": z(NOW),
        "state": "attributed",
        "matched_by": "internet_message_id",
        "url": "",
        "uncounted": "native",
        "bounce_type": "",
        "user_agent": "Mozilla/5.0",
    }


def test_events_as_json_are_one_object_a_line_with_null_for_what_is_not_known(engine: Engine) -> None:
    lines = attribution("events", "--subscriber", "2", "--format", "json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {tuple(row) for row in rows} == {events.COLUMNS}
    assert [(row["kind"], row["status"], row["bounce_type"]) for row in rows] == [
        ("delivery", "Bounced", "hard"),
        ("click", None, None),
        ("click", None, None),
    ]
    assert rows[2]["url"] == "https://www.example.com/ü?a=1,2"
    assert rows[2]["received_at"] is None


def test_events_of_a_message_include_those_that_wait_for_it(engine: Engine) -> None:
    (row,) = rows_of(attribution("events", "--message", "d@EXAMPLE.com").stdout)
    assert (row["event_id"], row["state"], row["campaign_id"]) == ("waits", "parked", "")


def test_a_strangers_text_is_no_formula_in_csv_and_unchanged_in_json(engine: Engine) -> None:
    row = rows_of(attribution("events", "--campaign", "65").stdout)[3]
    assert (row["url"], row["user_agent"]) == (f"'{FORMULA}", "'-")
    assert json.loads(attribution("events", "--campaign", "65", "--format", "json").stdout.splitlines()[3])["url"] == (
        FORMULA
    )


@pytest.mark.parametrize("arguments", [(), ("--since", "7d"), ("--message", "two words")])
def test_events_of_nobody_in_particular_are_not_written(engine: Engine, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["events", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
