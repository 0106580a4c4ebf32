"""`attribution stats`, as people and their programs use it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from cli import stats
from cli.main import main
from tests.cli.results.conftest import NOW
from tests.cli.results.reading import attribution, rows_of, z


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
        "waiting": {"parked": 0, "expired": 0, "expired_is_exact": True, "oldest_parked_at": None},
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
    assert document["waiting"] == {
        "parked": 1,
        "expired": 0,
        "expired_is_exact": True,
        "oldest_parked_at": z(NOW),
    }


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
