"""The dashboards: those that were described, valid, and about metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.generate import FOLDER, dashboards, files
from deploy.grafana.panels import Dashboard, Panel
from deploy.grafana.runbook import UID, links
from tests.monitoring.conftest import Promtool
from tests.monitoring.expressions import complaints, known, rules, selected
from tests.pages import commands

BY_UID = {dashboard.uid: dashboard for dashboard in dashboards()}
ALERTS = {rule["alert"] for rule in rules("alerts.yml")}
PANELS = [
    pytest.param(panel, id=f"{dashboard.uid}: {panel.title}")
    for dashboard in BY_UID.values()
    for panel in dashboard.panels()
    if panel.kind != "text"
]
EXPRESSIONS = {query.expr for each in BY_UID.values() for panel in each.panels() for query in panel.queries}


def test_what_is_committed_is_what_is_described() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert committed == files(), "write them anew: python -m deploy.grafana.generate"


def test_the_five_and_the_runbook_are_there() -> None:
    assert set(BY_UID) == {
        "attribution-overview",
        "attribution-attribution",
        "attribution-park",
        "attribution-pipeline",
        "attribution-campaigns",
        "attribution-runbook",
    }


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_a_question_and_says_what_to_do(panel: Panel) -> None:
    assert panel.title.endswith("?")
    assert panel.todo.endswith(".")
    assert panel.unit in {"none", "s", "percentunit", "percent", "ops", "reqps", "bytes"}
    assert panel.queries
    assert set(panel.alerts) <= ALERTS


def test_a_number_is_as_it_is_now_and_none_when_its_series_has_ended() -> None:
    asked = [
        target
        for uid in BY_UID
        for panel in written(uid)["panels"]
        if panel["type"] in ("stat", "table", "bargauge")
        for target in panel["targets"]
    ]
    assert asked
    assert all(target["instant"] and not target["range"] for target in asked)


@pytest.mark.parametrize("expression", sorted(EXPRESSIONS))
def test_an_expression_is_about_series_and_labels_that_there_are(expression: str) -> None:
    assert complaints(expression) == []


def test_promtool_can_parse_every_expression(promtool: Promtool, tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(sorted(EXPRESSIONS))
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"SUCCESS: {len(EXPRESSIONS)} rules found" in promtool("check", "rules", file)


def test_a_legend_names_labels_that_its_expression_has() -> None:
    labels = {label for each in known().values() for label in each}
    for dashboard in BY_UID.values():
        for panel in dashboard.panels():
            for query in panel.queries:
                named = set(re.findall(r"{{(\w+)}}", query.legend))
                assert named <= labels
                assert all(
                    re.search(rf"\b{label}\b", query.expr)
                    or any(label in known()[each.metric] for each in selected(query.expr))
                    for label in named
                ), panel.title


def test_every_metric_is_on_some_dashboard() -> None:
    shown = {each.metric for expression in EXPRESSIONS for each in selected(expression)}
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
    for name in shown & set(recorded):
        shown |= {each.metric for each in selected(recorded[name])}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} | shown
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known() if name.startswith("attribution_")}
    assert ours - shown == set()


def test_every_alert_has_a_panel_that_shows_its_matter() -> None:
    shown = {alert for dashboard in BY_UID.values() for panel in dashboard.panels() for alert in panel.alerts}
    assert shown | {"AttributionInstanceDown"} == ALERTS


@pytest.mark.parametrize("uid", BY_UID)
def test_panels_are_numbered_once_and_lie_side_by_side(uid: str) -> None:
    panels = written(uid)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def written(uid: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("uid", [uid for uid in BY_UID if uid != UID])
def test_a_dashboard_asks_the_prometheus_that_is_chosen_and_links_to_sections_of_the_runbook(uid: str) -> None:
    dashboard = written(uid)
    assert dashboard["schemaVersion"] >= 39  # Grafana 11
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource"]
    sections = {panel["id"]: panel["title"] for panel in written(UID)["panels"] if panel["type"] == "text"}
    for panel in dashboard["panels"]:
        if panel["type"] in ("row", "text"):
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        for link in panel["links"]:
            number = re.fullmatch(rf"/d/{UID}\?viewPanel=(\d+)", link["url"])
            assert number
            assert link["title"] == f"What to do: {sections[int(number[1])]}"


def test_the_runbook_in_grafana_has_each_section_without_a_link_that_leads_nowhere() -> None:
    texts = {panel["title"]: panel["options"]["content"] for panel in written(UID)["panels"] if panel["type"] == "text"}
    assert set(links()) == ALERTS
    assert set(texts) > ALERTS
    assert [title for title, text in texts.items() if re.search(r"\]\((?!http)", text)] == []
    assert any("attribution parked" in command for text in texts.values() for command in commands(text))


def test_it_would_be_noticed_that_a_panel_lies_on_another() -> None:
    """The layout wraps: what does not fit beside goes below."""
    panel = Panel("Is it?", "It is.", "none", [], width=16)
    from deploy.grafana.panels import Row

    placed = Dashboard("u", "t", "d", [Row("r", [panel, panel])]).json({})["panels"]
    assert [each["gridPos"]["y"] for each in placed] == [0, 1, 9]
