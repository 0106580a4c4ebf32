"""`attribution stats`, `events` and `accuracy`, as people and their programs use them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cli import events, formats, stats
from cli.formats import as_cell, printable
from cli.main import main
from db.engine import create_engine

ROOT = Path(__file__).parents[2]
FORMULA = "=HYPERLINK(1)"
NOW = datetime.now(UTC).replace(microsecond=0)

_MESSAGES = """
INSERT INTO azure_message_tracking (campaign_id, subscriber_id, internet_message_id, sent_at)
VALUES (65, 1, '<a@example.com>', :earlier), (65, 2, '<b@example.com>', :earlier), (66, 1, '<c@example.com>', :now)
"""
_ENGAGEMENTS = """
INSERT INTO azure_engagement_events (
    event_id, engagement_type, engagement_context, user_agent, campaign_id, subscriber_id, internet_message_id,
    event_timestamp, received_at, state, matched_by, created_at, attributed_at, uncounted, link_campaign_id)
VALUES
    ('open 1', 'view', NULL, 'Mozilla/5.0', 65, 1, '<a@example.com>',
     :earlier, :now, 'attributed', 'internet_message_id', :earlier, :now, 'native', NULL),
    ('open 2', 'view', NULL, 'Mozilla/5.0', 65, 1, '<a@example.com>',
     :now, :now, 'attributed', 'internet_message_id', :now, :now, NULL, NULL),
    ('click 1', 'click', '=HYPERLINK(1)', '-', 65, 2, '<b@example.com>',
     :now, :now, 'attributed', 'internet_message_id', :now, :now, NULL, 66),
    ('click 2', 'click', 'https://www.example.com/ü?a=1,2', NULL, 65, 2, '<b@example.com>',
     :now, NULL, 'attributed', 'azure_message_id', :now, :now, NULL, 65),
    ('waits', 'view', NULL, NULL, NULL, NULL, '<d@example.com>',
     :now, :now, 'parked', NULL, :now, NULL, NULL, NULL)
"""
_DELIVERIES = """
INSERT INTO azure_delivery_events (
    event_id, status, campaign_id, subscriber_id, internet_message_id, event_timestamp, received_at, state, matched_by,
    created_at, attributed_at, bounce_type)
VALUES
    ('report 1', 'Delivered', 65, 1, '<a@example.com>', :earlier, :earlier, 'attributed', 'internet_message_id',
     :earlier, :earlier, NULL),
    ('report 2', 'Bounced', 65, 2, '<b@example.com>', :earlier, :earlier, 'attributed', 'delivery_report',
     :earlier, :earlier, 'hard')
"""
_INCIDENT = """
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'keys_disagree', id, jsonb_build_object(
           'message', jsonb_build_object('campaign_id', 65, 'subscriber_id', 2),
           'link', jsonb_build_object('campaign_id', 66))
  FROM azure_engagement_events WHERE event_id = 'click 1'
"""
_MANY = """
INSERT INTO azure_engagement_events (
    event_id, engagement_type, engagement_context, user_agent, campaign_id, subscriber_id, internet_message_id,
    event_timestamp, received_at, state, matched_by)
SELECT 'event ' || n, 'click', rpad('https://www.example.com/' || n, 100, 'x'), rpad('Mozilla/5.0 ', 40, 'y'), 67, n,
       '<m' || n || '@example.com>', timestamptz '2026-01-01Z' + n * interval '1 second', now(), 'attributed',
       'internet_message_id'
  FROM generate_series(1, 300000) AS n
"""


@pytest.fixture
def empty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    engine = create_engine(database_url, statement_timeout=None)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(empty: Engine) -> Engine:
    with empty.begin() as conn:
        for statement in (_MESSAGES, _ENGAGEMENTS, _DELIVERIES, _INCIDENT):
            conn.execute(text(statement), {"now": NOW, "earlier": NOW - timedelta(days=2)})
    return empty


def attribution(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


def rows_of(shown: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown, newline="")))


def z(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


# attribution stats


def test_stats_shows_a_line_for_each_campaign_and_what_waits_below(engine: Engine) -> None:
    lines = attribution("stats").stdout.splitlines()
    by_campaign = {line.split()[0]: line.split() for line in lines if line.strip()[:1].isdigit()}
    assert by_campaign["65"][:12] == ["65", "2", "1", "1", "0", "0", "2", "1", "2", "1", "0", "1"]
    assert by_campaign["65"][-1] == "100.0%"
    assert by_campaign["66"] == ["66", "1", *["0"] * 10, "100.0%"]
    assert (
        lines[-1] == f"Waiting now, of whatever campaign: 1 parked (the oldest since {NOW:%Y-%m-%d %H:%MZ}), 0 expired."
    )


def test_stats_of_an_empty_database_says_so_by_zeros_not_by_a_failure(empty: Engine) -> None:
    assert attribution("stats").stdout == "Waiting now, of whatever campaign: 0 parked, 0 expired.\n"
    assert json.loads(attribution("stats", "--format", "json").stdout) == {
        "since": None,
        "campaigns": [],
        "waiting": {"parked": 0, "expired": 0, "oldest_parked_at": None},
    }
    assert attribution("stats", "--format", "csv").stdout == ",".join(stats.COLUMNS) + "\n"


def test_stats_as_json_is_one_document_with_instants_in_utc(engine: Engine) -> None:
    document = json.loads(attribution("stats", "--format", "json", "--campaign", "65").stdout)
    assert document["campaigns"] == [
        {
            "campaign_id": 65,
            "sent": 2,
            "delivered": 1,
            "bounced_hard": 1,
            "bounced_soft": 0,
            "bounced_complaint": 0,
            "opens": 2,
            "unique_opens": 1,
            "clicks": 2,
            "unique_clicks": 1,
            "unsubscribe_clicks": 0,
            "parked": 1,
            "first_event_at": z(NOW - timedelta(days=2)),
            "last_event_at": z(NOW),
            "population_rate": 1.0,
        }
    ]
    assert tuple(document["campaigns"][0]) == stats.COLUMNS
    assert document["waiting"] == {"parked": 1, "expired": 0, "oldest_parked_at": z(NOW)}


def test_stats_as_csv_has_the_same_numbers_and_nothing_where_json_has_null(engine: Engine) -> None:
    as_json = json.loads(attribution("stats", "--format", "json").stdout)["campaigns"]
    as_csv = rows_of(attribution("stats", "--format", "csv").stdout)
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in as_json] == as_csv
    assert as_csv[1]["first_event_at"] == ""


def test_stats_since_a_time_counts_what_happened_and_was_sent_since(engine: Engine) -> None:
    for since in ("24h", f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%S}", z(NOW)):
        document = json.loads(attribution("stats", "--format", "json", "--since", since).stdout)
        numbers = {row["campaign_id"]: row for row in document["campaigns"]}
        assert (numbers[65]["sent"], numbers[65]["opens"], numbers[65]["clicks"]) == (0, 1, 2)
        assert numbers[65]["population_rate"] is None
        assert numbers[66]["sent"] == 1
        assert document["since"].endswith("Z")


def test_a_campaign_nobody_knows_is_named_on_standard_error(engine: Engine) -> None:
    result = attribution("stats", "--campaign", "99", "--campaign", "65", "--format", "csv")
    assert result.stderr == "Campaign 99: no message and no event.\n"
    assert [row["campaign_id"] for row in rows_of(result.stdout)] == ["65"]


@pytest.mark.parametrize("since", ["yesterday", "7", "2026-02-30", "99999999d", "7 years", ""])
def test_what_is_no_time_is_a_usage_error_that_says_how_to_write_one(engine: Engine, since: str) -> None:
    result = CliRunner().invoke(main, ["stats", "--since", since])
    assert result.exit_code == 2
    assert "is no point in time. Write a date (2026-01-31)" in " ".join(result.stderr.split())


@pytest.mark.parametrize("campaign", ["0", "2147483648", "x"])
def test_what_is_no_campaign_is_a_usage_error(empty: Engine, campaign: str) -> None:
    for command in ("stats", "events"):
        assert CliRunner().invoke(main, [command, "--campaign", campaign]).exit_code == 2


# attribution events


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


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_calculate_is_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"
    assert as_cell(f"x{text}") == f"x{text}"


@pytest.mark.parametrize(
    "steering", ["\x1b[31m", "\x9b31m", "\n", "\r", "\x7f", "\u2028", "\u202e", "\U000e0041", "\udc9b"]
)
def test_what_steers_a_terminal_is_not_printed_and_is_exact_elsewhere(
    steering: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"ü{steering}x"
    assert printable(text) == f"ü\N{REPLACEMENT CHARACTER}{steering[1:]}x"
    assert as_cell(text, on_terminal=True) == printable(text)
    assert as_cell(text) == text
    formats.write_document({"id": text})
    formats.write_rows("json", ["id"], [[text]])
    shown = capsys.readouterr().out
    assert "ü" in shown
    assert shown.replace("\n", "").isprintable()
    document, row = shown.rsplit("\n", 2)[:2]
    assert json.loads(document) == json.loads(row) == {"id": text}


@pytest.mark.parametrize("on_terminal", [True, False])
def test_csv_is_printable_on_a_terminal_and_exact_in_a_file(monkeypatch: pytest.MonkeyPatch, on_terminal: bool) -> None:
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: on_terminal)
    monkeypatch.setattr(sys, "stdout", written)
    formats.write_rows("csv", ["url"], [["https://www.example.com/\x1b[31m"]])
    assert ("\x1b" in written.getvalue()) is not on_terminal
    assert "https://www.example.com/" in written.getvalue()


@pytest.mark.parametrize("arguments", [(), ("--since", "7d"), ("--message", "two words")])
def test_events_of_nobody_in_particular_are_not_written(engine: Engine, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["events", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.timeout(180)
def test_hundreds_of_thousands_of_events_pass_through_the_memory_of_a_few(empty: Engine) -> None:
    few, _ = _peak_bytes("--campaign", "67")
    with empty.begin() as conn:
        conn.execute(text(_MANY))
    for arguments, least in (((), 80_000_000), (("--format", "json", "--since", "2026-01-03"), 40_000_000)):
        peak, written = _peak_bytes("--campaign", "67", *arguments)
        assert written > least
        assert peak - few < 10_000_000


def _peak_bytes(*arguments: str) -> tuple[int, int]:
    """Run ``attribution events``; return the most memory it held, and how much it wrote."""
    with _started(*arguments) as process:
        assert process.stdout
        written = 0
        while block := process.stdout.read(1 << 20):
            written += len(block)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024, written


def _started(*arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli", "events", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE)


def test_a_reader_that_has_had_enough_ends_the_command_quietly(empty: Engine) -> None:
    with empty.begin() as conn:
        conn.execute(text(_MANY.replace("300000", "5000")))
    with _started("--campaign", "67") as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"event_id,kind")
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_full_disk_is_one_sentence(empty: Engine) -> None:
    with empty.begin() as conn:
        conn.execute(text(_MANY.replace("300000", "100")))
    with (
        Path("/dev/full").open("wb") as full,
        _started("--campaign", "67", stdout=full) as process,
    ):
        _, complaint = process.communicate()
    assert process.returncode == 1
    assert complaint == b"The rows could not be written: No space left on device.\n"


# attribution accuracy


def test_accuracy_counts_what_two_keys_prove_and_lists_who_disagrees(engine: Engine) -> None:
    lines = [line.split() for line in attribution("accuracy").stdout.splitlines()]
    assert ["2", "2", "1", "1", "50.0%", "50.0%"] in lines
    (incident,) = [line for line in lines if "click" in line and "says" not in line and "65," in line]
    assert " ".join(incident[2:]).endswith("campaign 65, subscriber 2 campaign 66")
    assert ["internet_message_id", "3", "1", "57.1%"] in lines
    assert ["(parked)", "1", "0", "14.3%"] in lines
    assert lines[-1] == ["6", "of", "7", "events", "are", "attributed:", "85.7%."]


def test_accuracy_as_json_has_both_sides_of_each_disagreement(engine: Engine) -> None:
    document = json.loads(attribution("accuracy", "--format", "json").stdout)
    assert document["clicks"] == {
        "clicks": 2,
        "two_keys": 2,
        "agreeing": 1,
        "disagreeing": 1,
        "proven_share": 0.5,
        "agreement_share": 0.5,
    }
    (incident,) = document["disagreements"]
    assert incident["event_id"] == "click 1"
    assert incident["message"] == {"campaign_id": 65, "subscriber_id": 2}
    assert incident["link"] == {"campaign_id": 66, "subscriber_id": None}
    assert document["events"]["attributed"] == 6
    assert document["events"]["by_key"][0] == {
        "state": "attributed",
        "matched_by": "internet_message_id",
        "engagements": 3,
        "deliveries": 1,
    }
    assert json.loads(attribution("accuracy", "--format", "json", "--limit", "0").stdout)["disagreements"] == []


def test_accuracy_counts_acts_that_are_alike_but_for_their_id(engine: Engine) -> None:
    assert "their event id" not in attribution("accuracy").stdout
    with engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE azure_engagement_events SET engagement_type = 'click', azure_message_id = NULL,"
                " internet_message_id = '<one@example.com>', engagement_context = NULL, user_agent = NULL,"
                " event_timestamp = now()"
            )
        )
        alike = conn.scalar(text("SELECT count(*) - 1 FROM azure_engagement_events"))
    assert f"{alike} opens and clicks are like another one" in " ".join(attribution("accuracy").stdout.split())
    assert json.loads(attribution("accuracy", "--format", "json").stdout)["events"]["alike"] == alike


def test_accuracy_claims_nothing_where_no_click_carries_a_second_key(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE azure_engagement_events SET link_campaign_id = NULL"))
    assert "Of 2 clicks, no click carries a second key" in attribution("accuracy").stdout
    clicks = json.loads(attribution("accuracy", "--format", "json").stdout)["clicks"]
    assert (clicks["proven_share"], clicks["agreement_share"]) == (0.0, None)


def test_accuracy_of_an_empty_database_claims_nothing(empty: Engine) -> None:
    assert attribution("accuracy").stdout == "There are no clicks.\n\nThere are no events.\n"
    document = json.loads(attribution("accuracy", "--format", "json", "--since", "7d").stdout)
    assert document["clicks"]["proven_share"] is None
    assert document["events"] == {"total": 0, "attributed": 0, "attributed_share": None, "by_key": [], "alike": 0}
