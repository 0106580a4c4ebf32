"""The figures at the demo's end: readable in a narrow terminal, and true."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from cli.demo_figures import (
    FURTHER,
    campaign_table,
    further_line,
    listmonk_table,
    repair_intro,
    repair_line,
    repair_output,
    replaced_rule_line,
    suppressed_line,
)
from cli.main import COMMANDS
from simulator.accident import SMALL, Accident
from simulator.campaigns import Figures, InListmonk
from simulator.story import CANCELLED, RUNNING, UNTRACKED
from simulator.verdict import Fault


def printed(*drawn: RenderableType) -> str:
    console = Console(file=io.StringIO(), record=True, width=80)
    console.print(*drawn)
    return console.export_text()


def test_campaign_table_fits_a_narrow_terminal() -> None:
    figures = {
        CANCELLED: Figures(
            sent=1300, delivered=1295, opens=1252, clicks=1054, other_reports=5, events=3, with_message_id=3
        ),
        RUNNING: Figures(sent=500, parked=5, events=4, with_message_id=3),
        UNTRACKED: Figures(),
    }
    table = printed(campaign_table(figures))
    assert "…" not in table
    assert "Autumn sale (cancelled)" in table
    assert "1,295" in table
    assert "75.0%" in table
    assert "5 parked reports" in printed(suppressed_line(figures))


@pytest.mark.parametrize("count", [0, 241])
def test_replaced_rule_is_counted(count: int) -> None:
    assert f"put {count} opens" in replaced_rule_line({(CANCELLED, RUNNING): count}).plain


def test_listmonk_table_adds_its_own_rows_and_ours_and_fits_a_narrow_terminal() -> None:
    figures = {
        CANCELLED: InListmonk(
            native_views=822, our_views=856, native_clicks=112, our_clicks=138, bounces=5, seen_by_both=812
        )
    }
    table = printed(listmonk_table(figures))
    assert "…" not in table
    assert "822 + 856 = 1,678" in table
    assert "112 + 138 = 250" in table
    assert "0 + 0 = 0" in table
    assert "812" in table


def test_repair_is_shown_from_its_table_on() -> None:
    output = "requests read    119\n\ncampaign  views\n65          +26\n1,644 rows changed by run 1.\n"
    assert repair_output(output).plain == "campaign  views\n65          +26\n1,644 rows changed by run 1."
    assert repair_output("something else\nentirely\n").plain == "something else\nentirely"
    assert "attribution backfill" in printed(repair_intro())


def test_repair_is_judged() -> None:
    accident = Accident(SMALL, engagements={1: 65, 2: None}, deliveries={1: 64})
    assert "each of 2 events" in repair_line(accident, ()).plain
    off = repair_line(accident, [Fault("row 3 of bounces", "is gone")] * 12).plain
    assert "12 things are off" in off
    assert off.count("row 3 of bounces is gone") == 10


def test_commands_to_look_further_exist() -> None:
    assert {command.split()[0] for command in FURTHER} <= COMMANDS.keys()
    assert "attribution repair --dry-run" in further_line().plain
