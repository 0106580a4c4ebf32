"""`attribution backfill` and `attribution repair`, as an operator uses them."""

from __future__ import annotations

import json
import re

import psycopg
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.repair.conftest import ALL, RESTORED, Site
from tests.repair.correcting import backfill, repair
from tests.repair.rows import AT, SECOND, event, track, view
from tests.repair.test_accident import assert_put_right

A_DRY_RUN = "A dry run: nothing was changed.\n"


def attribution(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", site.url)
    return site


def lines_of(output: str) -> list[list[str]]:
    return [line.split() for line in output.replace("\N{MINUS SIGN}", "-").splitlines()]


def run_of(output: str) -> str:
    found = re.search(r"--undo (\d+)`", output)
    assert found
    return found[1]


def test_a_dry_run_of_the_backfill_shows_the_runs_numbers_and_changes_nothing(here: Site) -> None:
    before = here.dump(*ALL)
    rehearsed = attribution("backfill", "--dry-run", "--show-unproven")
    assert rehearsed.exit_code == 0
    assert here.dump(*ALL) == before
    done = attribution("backfill", "--show-unproven")
    shown, _, rest = done.output.rpartition("\n864 rows changed")
    assert rest.startswith(" by run ")
    assert rehearsed.output == f"{shown}\n{A_DRY_RUN}"
    assert_put_right(here)


def test_a_dry_run_of_the_repair_shows_the_runs_numbers_and_changes_nothing(here: Site) -> None:
    backfill(here.engine)
    here.change("UPDATE attribution_runs SET state = 'finished'")
    before = here.dump(*ALL)
    rehearsed = attribution("repair", "--dry-run", "--show-unproven")
    assert here.dump(*ALL) == before
    done = attribution("repair", "--show-unproven")
    shown, _, _ = done.output.rstrip().rpartition("\n")
    assert rehearsed.output == f"{shown}\n{A_DRY_RUN}"
    assert_put_right(here)


def test_the_table_counts_by_campaign(here: Site) -> None:
    lines = lines_of(attribution("backfill", "--dry-run").output)
    assert ["64", "-26", "-6", "-5", "-38", "-160"] in lines
    assert ["65", "+24", "+6", "+5", "+38", "+160"] in lines


def test_the_run_keeps_what_it_did_and_no_output_holds_an_address(here: Site) -> None:
    outputs = [attribution("backfill", "--show-unproven").output]
    ((summary,),) = here.rows("SELECT summary FROM attribution_runs WHERE state = 'finished'")
    assert summary["changes"]["campaign_views"] == {"64": -26, "65": 24}
    assert summary["rows"]["id_filled_by_mailers_rule"] == 234
    assert summary["unproven"]["message_unknown"] == 3
    outputs += [attribution("repair").output, attribution("repair", "--undo", run_of(outputs[0])).output]
    assert not any("@" in output for output in [*outputs, json.dumps(summary)])


def test_undo_restores_and_says_what(here: Site) -> None:
    before = here.dump(*RESTORED)
    run = run_of(attribution("backfill").output)
    assert attribution("backfill").output.endswith("Nothing was changed.\n")
    restored = attribution("repair", "--undo", run)
    assert restored.exit_code == 0
    assert "azure_message_tracking: 234 rows restored" in restored.output
    assert here.dump(*RESTORED) == before
    assert attribution("repair", "--undo", run).output == f"Run {run} has nothing left to restore.\n"


def test_undo_names_what_it_refuses_and_fails(here: Site) -> None:
    run = run_of(attribution("backfill").output)
    ((row,),) = here.rows(
        "SELECT min(row_id) FROM attribution_journal"
        " WHERE table_name = 'campaign_views' AND became IS NOT NULL AND row_id > 0"
    )
    here.change("UPDATE campaign_views SET campaign_id = 63 WHERE id = %s", row)
    result = attribution("repair", "--undo", run)
    assert result.exit_code == 1
    assert f"campaign_views row {row} has changed since, and stays as it is" in result.output
    assert "campaign_views: 28 rows restored" in result.output


def test_conflicts_are_named_by_row_and_id(here: Site) -> None:
    ((row, azure_id),) = here.rows(
        "SELECT id, azure_message_id FROM azure_message_tracking WHERE campaign_id = 65 AND internet_message_id IS NULL"
        " ORDER BY id LIMIT 1"
    )
    here.change("UPDATE azure_message_tracking SET internet_message_id = '<other@example.com>' WHERE id = %s", row)
    result = attribution("backfill")
    assert f"row {row} does not get <{azure_id}@listmonk>: it has, or is offered, <other@example.com>" in result.output
    assert re.search(r"^conflicts +1 +nothing is overwritten", result.output, re.MULTILINE)


def test_without_a_log_it_says_so_and_what_helps(lone_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", lone_site.url)
    result = attribution("backfill")
    assert result.exit_code == 1
    assert "no table webhook_logs" in result.output
    assert "attribution repair" in result.output
    assert lone_site.rows("SELECT count(*) FROM attribution_runs") == [(0,)]


@pytest.mark.parametrize("command", [("backfill",), ("repair",), ("repair", "--undo", "1"), ("repair", "--dry-run")])
def test_two_at_once_are_kept_apart(here: Site, command: tuple[str, ...]) -> None:
    before = here.dump(*ALL)
    with psycopg.connect(here.url) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('attribution corrections'))")
        result = attribution(*command)
    assert result.exit_code == 1
    assert "Another backfill, repair or undoing is at work" in result.output
    assert here.dump(*ALL) == before


def test_undo_is_given_alone(here: Site) -> None:
    assert attribution("repair", "--undo", "1", "--dry-run").exit_code == 2


def test_undo_of_a_run_that_there_is_not_is_one_sentence(here: Site) -> None:
    result = attribution("repair", "--undo", "99")
    assert (result.exit_code, result.output) == (1, "There is no run 99.\n")


def test_an_interrupted_repair_goes_on_under_its_number(listmonk_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site = listmonk_site
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", site.url)
    for number in range(4):
        track(site, f"<{number}@example.com>")
        event(site, f"<{number}@example.com>", at=AT + number * 60 * SECOND)
        view(site, at=AT + number * 60 * SECOND)
    before = site.dump(*RESTORED)
    _, run = repair(site.engine, size=1, stop_after=2)
    assert sorted(site.per_campaign("campaign_views").items()) == [(64, 2), (65, 2)]
    result = attribution("repair")
    assert run_of(result.output) == str(run)
    # Once what is left, and once, at the end, what the whole run has done.
    assert [line for line in lines_of(result.output) if line[:1] == ["64"]] == [
        ["64", "-2", "-2"],
        ["64", "-4", "-4"],
    ]
    attribution("repair", "--undo", str(run))
    assert site.dump(*RESTORED) == before
