"""The rules of Prometheus: valid, about metrics that there are, tested, and told in the runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.generate import dashboards
from tests.monitoring import prometheus_binary
from tests.monitoring.conftest import Promtool
from tests.monitoring.expressions import RULES, complaints, rules
from tests.pages import ROOT, anchors, code_spans, links, read, section

ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule for rule in rules("recording.yml")}
UNIT_TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))


def test_promtool_takes_configuration_and_rules(promtool: Promtool) -> None:
    said = promtool("check", "config", ROOT / "deploy/prometheus/prometheus.yml")
    assert f"SUCCESS: {len(ALERTS)} rules found" in said
    assert f"SUCCESS: {len(RECORDED)} rules found" in said


@pytest.mark.parametrize("file", [path.name for path in UNIT_TESTS])
def test_unit_tests_of_the_rules_pass(promtool: Promtool, file: str) -> None:
    promtool("test", "rules", ROOT / "deploy/prometheus/tests" / file)


def expressions() -> list[str]:
    """Return every expression of the rules and the dashboards."""
    ruled = [rule["expr"] for file in ("alerts.yml", "recording.yml") for rule in rules(file)]
    return ruled + [query.expr for each in dashboards() for panel in each.panels() for query in panel.queries]


def test_no_expression_means_one_thing_to_prometheus_2_and_another_to_3() -> None:
    """3 writes the bounds of buckets as floats, has no holt_winters, and leaves a range's first instant out."""
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    for expression in expressions():
        assert not re.search(r"\ble\s*[=!]", expression)
        assert "holt_winters" not in expression
        for number, unit in re.findall(r"\[(\d+)([smhd])\]", expression):
            assert int(number) * units[unit] >= 4 * int(scrape.removesuffix("s"))


def checks() -> list[dict[str, Any]]:
    """Return what the unit tests expect of alerts at which time."""
    return [
        check
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test.get("alert_rule_test", ())
    ]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_to_fire_and_to_be_silent(alert: str) -> None:
    seen = [bool(check["exp_alerts"]) for check in checks() if check["alertname"] == alert]
    assert set(seen) == {True, False}


def test_while_all_is_well_every_alert_is_silent() -> None:
    (test,) = yaml.safe_load((ROOT / "deploy/prometheus/tests/healthy.yml").read_text())["tests"]
    silent = {check["alertname"] for check in test["alert_rule_test"] if not check["exp_alerts"]}
    assert silent == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_happened_how_urgent_it_is_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    for said in ("summary", "description"):
        assert re.fullmatch(r"[A-Z{\d].*\.", rule["annotations"][said])
    path, _, fragment = rule["annotations"]["runbook_url"].removeprefix("{{ $externalLabels.docs }}").partition("#")
    assert path == "docs/runbook.md"
    assert fragment in anchors(read(path))


def test_the_runbook_has_a_section_for_each_alert_and_no_other_in_the_order_of_the_rules() -> None:
    assert re.findall(r"^## (.+)$", read("docs/runbook.md"), re.MULTILINE) == list(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_cause_that_is_an_alert_itself_stands_before_its_effect(alert: str) -> None:
    """So that whoever has several begins with the first."""
    page = read("docs/runbook.md")
    causes = section(page, alert).partition("\n1. ")[2].partition("\n**It ends**")[0]
    before = {f"#{anchor}" for anchor in anchors(page[: page.index(f"\n## {alert}\n")])}
    assert {target for target in links(causes) if target.startswith("#")} <= before


def test_trackings_that_wait_are_looked_for_before_a_mailer_is_blamed() -> None:
    order = [f"Attribution{name}" for name in ("QueueGrowing", "TrackingLate", "SuccessFalling", "ParkedTooOld")]
    assert sorted(order, key=list(ALERTS).index) == order
    text = section(read("docs/runbook.md"), "AttributionParkedTooOld")
    first, _, causes = text.partition("\n1. ")
    assert first.index("LLEN attribution.tracking") < first.index("attribution parked")
    assert "Expire nothing while" in causes


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_of_the_runbook_says_how_urgent_it_is_what_to_look_at_and_how_it_ends(alert: str) -> None:
    text = section(read("docs/runbook.md"), alert)
    assert text.strip().startswith(f"*{ALERTS[alert]['labels']['severity']}.*")
    assert "\n**Look first:**" in text
    assert "\n1. " in text
    assert "\n**It ends**" in text


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED])
def test_a_rule_is_about_series_and_labels_that_there_are(rule: str) -> None:
    assert complaints((ALERTS | RECORDED)[rule]["expr"]) == []


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("rate(attribution_made_up_total[5m])", "there is no attribution_made_up_total"),
        ('up{colour="red"} == 1', "up has no colour"),
        ("sum by (colour) (attribution_parked_events)", "nothing here has colour"),
        ("attribution_batch_seconds > 1", "there is no attribution_batch_seconds"),  # a histogram has parts
    ],
)
def test_that_test_would_notice(expression: str, complaint: str) -> None:
    assert complaints(expression) == [complaint]


def test_metrics_of_the_rules_stand_in_their_unit_tests() -> None:
    """Nothing fires by a series that no unit test has."""
    series = " ".join(path.read_text() for path in UNIT_TESTS)
    named = set(re.findall(r"attribution_\w+", " ".join(rule["expr"] for rule in ALERTS.values())))
    assert [name for name in sorted(named) if name not in series] == []


def test_files_of_rules_are_those_that_prometheus_reads() -> None:
    (pattern,) = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))["rule_files"]
    assert {path.name for path in (ROOT / "deploy/prometheus").glob(pattern)} == {path.name for path in RULES.iterdir()}


def test_thresholds_that_can_be_tuned_stand_in_monitoring_md() -> None:
    tuned = {span for span in code_spans(section(read("docs/monitoring.md"), "What to tune")) if span in ALERTS}
    assert tuned


def test_where_prometheus_cannot_be_had_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(prometheus_binary.NoPrometheus, match=r"no apt-get to fetch Debian's package with"):
        prometheus_binary.find(tmp_path / "tools")


def test_what_is_recorded_is_used() -> None:
    used = " ".join(rule["expr"] for rule in (*ALERTS.values(), *RECORDED.values()))
    used += " ".join(path.read_text() for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"))
    assert [name for name in RECORDED if name not in used] == []
