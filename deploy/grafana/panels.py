"""What a dashboard is made of, and the JSON in which Grafana 11 and later reads it.

Only what we use is here: six kinds of panels, one way to draw each. The JSON model is Grafana's own, which newer
releases bring up to date as they read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "heatmap", "table", "bargauge", "text"]

#: Grafana 11's. A newer Grafana knows what has changed since.
SCHEMA_VERSION: Final = 39
#: Every dashboard has this variable: whoever imports one chooses the Prometheus.
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: The width of a dashboard, in columns.
_COLUMNS: Final = 24
_WIDTHS: Final[dict[Kind, tuple[int, int]]] = {
    "stat": (4, 4),
    "timeseries": (12, 8),
    "heatmap": (12, 9),
    "table": (12, 8),
    "bargauge": (12, 8),
    "text": (12, 9),
}


@dataclass(frozen=True)
class Query:
    """An expression, and how what it returns is called: text with ``{{label}}`` in it."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A question, and the expressions that answer it.

    ``todo`` is the sentence for whoever does not like the answer. ``red`` is where it becomes bad: from there on, or,
    with ``bad_below``, underneath; ``orange`` likewise, a little before. ``alerts`` are those of the same matter.
    """

    title: str
    todo: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    red: float | None = None
    orange: float | None = None
    bad_below: bool = False
    words: dict[float, str] = field(default_factory=dict)
    alerts: Sequence[str] = ()
    stacked: bool = False
    width: int = 0


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """A page of Grafana's. Its uid is the name of its file."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    refresh: str = "30s"
    since: str = "now-6h"

    def panels(self) -> Iterator[Panel]:
        """Yield every panel."""
        for row in self.rows:
            yield from row.panels

    def json(self, runbook: dict[str, str]) -> Json:
        """Return what Grafana reads. ``runbook`` has, for each alert, where its section is."""
        return {
            "annotations": {"list": []},
            "description": self.description,
            "editable": True,
            "graphTooltip": 1,
            "links": [_to_the_others()],
            "panels": list(self._placed(runbook)),
            "refresh": self.refresh,
            "schemaVersion": SCHEMA_VERSION,
            "tags": ["attribution"],
            "templating": {"list": [_DATASOURCE_VARIABLE]},
            "time": {"from": self.since, "to": "now"},
            "timezone": "",
            "title": self.title,
            "uid": self.uid,
        }

    def _placed(self, runbook: dict[str, str]) -> Iterator[Json]:
        """Yield rows and panels from left to right, each numbered and in its place."""
        number, y = 0, 0
        for row in self.rows:
            number += 1
            yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []} | {
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
            }
            x, y, tallest = 0, y + 1, 0
            for panel in row.panels:
                number += 1
                width, height = _WIDTHS[panel.kind]
                width = panel.width or width
                if x + width > _COLUMNS:
                    x, y, tallest = 0, y + tallest, 0
                place = {"x": x, "y": y, "w": width, "h": height}
                yield {"id": number, "gridPos": place} | panel_json(panel, runbook)
                x, tallest = x + width, max(tallest, height)
            y += tallest


_DATASOURCE_VARIABLE: Final[Json] = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "regex": "",
    "current": {},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
}


def _to_the_others() -> Json:
    return {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "tags": ["attribution"],
        "targetBlank": False,
        "title": "Attribution",
        "type": "dashboards",
    }


def panel_json(panel: Panel, runbook: dict[str, str]) -> Json:
    """Return a panel as Grafana reads it, without its number and place."""
    if panel.kind == "text":
        return {
            "type": "text",
            "title": panel.title,
            "options": {"mode": "markdown", "content": panel.todo},
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.todo,
        "datasource": DATASOURCE,
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "links": [
            {"title": f"What to do: {alert}", "url": runbook[alert], "targetBlank": True} for alert in panel.alerts
        ],
    } | _SHAPES.get(panel.kind, {})


def _target(panel: Panel, number: int, query: Query) -> Json:
    # As it is now, or nothing: a range would show the last value of the page's hours, green, when the series has ended.
    at_once = panel.kind in ("stat", "table", "bargauge")
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series"),
        "instant": at_once,
        "range": not at_once,
    }


def _defaults(panel: Panel) -> Json:
    """Return the unit, the colours and the words of a panel's values."""
    bad = panel.red is not None
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.bad_below and bad:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.red}]
        if panel.orange is not None:
            steps[1:] = [{"color": "orange", "value": panel.red}, {"color": "green", "value": panel.orange}]
    else:
        steps += [{"color": "orange", "value": panel.orange}] if panel.orange is not None else []
        steps += [{"color": "red", "value": panel.red}] if bad else []
    words = {f"{value:g}": {"text": text, "index": n} for n, (value, text) in enumerate(panel.words.items())}
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "mappings": [{"type": "value", "options": words}] if words else [],
        "custom": {},
    }
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if bad else "off"},
        }
    if panel.unit == "percentunit":
        defaults["max"] = 1
    return defaults


_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[Kind, Json]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _LAST,
        "textMode": "auto",
        "wideLayout": True,
    },
    "timeseries": {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange", "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
    "table": {"cellHeight": "sm", "showHeader": True},
    "bargauge": {
        "displayMode": "basic",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _LAST,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    },
}
#: What a kind of panel has beside its options: a table shows no instant and no metric's name.
_SHAPES: Final[dict[Kind, Json]] = {
    "table": {
        "transformations": [
            {
                "id": "organize",
                "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True, "alertstate": True}},
            }
        ]
    }
}
