"""What PromQL expressions name, as far as a test must know: metrics and their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from prometheus_client import Counter, Gauge, Histogram

from tests.pages import ROOT
from worker.telemetry import metrics

RULES: Final = ROOT / "deploy/prometheus/rules"

#: What Prometheus adds to every series.
_TARGET: Final = {"job", "instance"}
#: Series that are Prometheus's own.
_OWN: Final = {
    "up": _TARGET,
    "ALERTS": _TARGET | {"alertname", "alertstate", "severity"},
}

_TEXT = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:$])([a-zA-Z_][\w:]*)\s*(\{[^}]*\})?(?!\s*\()(?![\w:])")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "by", "on", "without", "ignoring"})


@dataclass(frozen=True)
class Selected:
    """A metric that an expression names, and the labels that it chooses by."""

    metric: str
    labels: frozenset[str]


def rules(file: str) -> Iterator[dict[str, Any]]:
    """Yield each rule of a file."""
    for group in yaml.safe_load((RULES / file).read_text())["groups"]:
        yield from group["rules"]


def selected(expression: str) -> list[Selected]:
    """Return each metric that ``expression`` names, with the labels in its braces."""
    bare = _GROUPING.sub(" ", _TEXT.sub('""', expression))
    bare = re.sub(r"\[[^]]*\]|\b\d[\w.]*", " ", bare)
    return [
        Selected(name, frozenset(_MATCHER.findall(matchers or "")))
        for name, matchers in _SELECTOR.findall(bare)
        if name.lower() not in _WORDS
    ]


def grouped_by(expression: str) -> set[str]:
    """Return every label that ``expression`` groups or matches by."""
    return {
        label.strip() for labels in _GROUPING.findall(_TEXT.sub('""', expression)) for label in labels.split(",")
    } - {""}


def known() -> dict[str, set[str]]:
    """Return each series that Prometheus can have of us, by name, with its labels."""
    series = {name: set(labels) for name, labels in _OWN.items()}
    for value in vars(metrics).values():
        if isinstance(value, Histogram):
            (described,) = value.describe()
            labels = {*value._labelnames, *_TARGET}
            series |= {f"{described.name}_bucket": labels | {"le"}}
            series |= {f"{described.name}_{part}": labels for part in ("sum", "count")}
        elif isinstance(value, Counter | Gauge):
            (described,) = value.describe()
            suffix = "_total" if isinstance(value, Counter) else ""
            series[described.name + suffix] = {*value._labelnames, *_TARGET}
    series |= {measure.name: {*measure.labels, *_TARGET} for measure in metrics.MEASURED}
    for rule in rules("recording.yml"):
        series[rule["record"]] = grouped_by(rule["expr"])
    return series


def complaints(expression: str) -> list[str]:
    """Return what ``expression`` names that there is not."""
    series = known()
    found = []
    for each in selected(expression):
        if each.metric not in series:
            found.append(f"there is no {each.metric}")
        elif missing := each.labels - series[each.metric]:
            found.append(f"{each.metric} has no {', '.join(sorted(missing))}")
    of_all = {label for each in selected(expression) for label in series.get(each.metric, ())}
    found += [f"nothing here has {label}" for label in sorted(grouped_by(expression) - of_all)]
    return found
