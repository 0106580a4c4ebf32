"""The dashboards, as Grafana's own types read them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.grafana.generate import FOLDER
from tests.monitoring.grafana_types import complaints

FILES = sorted(path.name for path in FOLDER.glob("*.json"))


def written(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", FILES)
def test_grafana_knows_every_field_of_a_dashboard(name: str) -> None:
    assert complaints(written(name)) == []


def first(dashboard: dict[str, Any], kind: str) -> dict[str, Any]:
    panel: dict[str, Any] = next(each for each in dashboard["panels"] if each["type"] == kind)
    return panel


def test_a_misspelt_option_one_of_another_panel_and_a_wrong_type_would_be_noticed() -> None:
    dashboard = written("attribution-overview.json")
    assert complaints(dashboard) == []
    stat, lines, table = (first(dashboard, kind) for kind in ("stat", "timeseries", "table"))
    stat["options"]["colourMode"] = stat["options"].pop("colorMode")
    stat["options"]["legend"] = {"showLegend": True}  # of a time series
    stat["gridPos"]["w"] = "4"
    lines["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "curve"
    lines["targets"][0]["expression"] = "up"
    table["options"]["cellHeight"] = "small"
    found = " ".join(complaints(dashboard))
    for part in ("colourMode", "options.legend", "grid_pos.w", "'curve'", "expression", "'small'"):
        assert part in found
    assert len(complaints(dashboard)) == 6
