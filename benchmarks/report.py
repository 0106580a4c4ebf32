"""What a run has found: figures, each with its ratio and its goal; a table for people, and JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

#: Figures below this are shown with digits behind the point.
_SMALL = 100


@dataclass(frozen=True)
class Goal:
    """A bound on a figure's ratio, or on its value."""

    of: Literal["ratio", "value"]
    bound: float
    sense: Literal["≥", "<"]

    def __str__(self) -> str:
        """Say it, as in ``ratio ≥ 0.65``."""
        return f"{self.of} {self.sense} {self.bound:g}"

    def is_met(self, value: float, ratio: float | None) -> bool:
        """Say whether a figure keeps to it."""
        figure = value if self.of == "value" else ratio
        if figure is None:
            return False
        return figure >= self.bound if self.sense == "≥" else figure < self.bound


def ratio_at_least(bound: float) -> Goal:
    """Return the goal of a throughput, which is always relative to what the same machine can do at best."""
    return Goal("ratio", bound, "≥")


def value_below(bound: float) -> Goal:
    """Return the goal of a latency."""
    return Goal("value", bound, "<")


@dataclass(frozen=True)
class Figure:
    """One row of the report.

    ``value`` is a median over the rounds, and ``ratio`` the median of each round's own ratio to the baseline measured
    next to it, so that it is not the quotient of two medians. A latency's ratio is to its goal.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    goal: Goal | None = None


def median_of(figures: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(figures)


def median_ratio(figures: Sequence[float], baselines: Sequence[float]) -> float:
    """Return the median of the rounds' ratios. Neighbours in time share the machine's mood, which thus cancels."""
    return statistics.median(figure / baseline for figure, baseline in zip(figures, baselines, strict=True))


def percentile(sample: Sequence[float], percent: float) -> float:
    """Return what ``percent`` of ``sample`` does not exceed."""
    ordered = sorted(sample)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def latency_figures(name: str, rounds: Sequence[Sequence[float]], goals: Mapping[int, float | None]) -> list[Figure]:
    """Return a figure for each percentile in ``goals``: the median of what the ``rounds`` found, in milliseconds.

    The latencies are in seconds, the goals in milliseconds; a percentile may be without one.
    """
    figures = []
    for percent, bound in goals.items():
        value = median_of(percentile(latencies, percent) for latencies in rounds) * 1000
        goal = None if bound is None else value_below(bound)
        figures.append(Figure(f"{name}, p{percent}", value, "ms", bound and value / bound, goal))
    return figures


def latency_text(latencies: Sequence[float]) -> str:
    """Say what one round found; the latencies are in seconds."""
    p50, p99, worst = (percentile(latencies, percent) * 1000 for percent in (50, 99, 100))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {worst:.2f} ms"


def write_figures(figures: Iterable[Figure], path: Path, *, judged: bool) -> None:
    """Write the figures as JSON: a list of objects with name, value, unit, ratio, goal and met.

    ``met`` is null where there is no goal, and where the run was too small to be ``judged``.
    """
    rows = [
        {
            "name": figure.name,
            "value": round(figure.value, 3),
            "unit": figure.unit,
            "ratio": None if figure.ratio is None else round(figure.ratio, 3),
            "goal": None if figure.goal is None else str(figure.goal),
            "met": _met(figure) if judged else None,
        }
        for figure in figures
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table_of(figures: Iterable[Figure], *, judged: bool) -> Table:
    """Return the figures as a table to print."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Measurement")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("Unit", no_wrap=True)
    table.add_column("Ratio", justify="right", no_wrap=True)
    table.add_column("Goal", no_wrap=True)
    table.add_column("Met", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.value),
            figure.unit,
            "" if figure.ratio is None else _number(figure.ratio),
            "" if figure.goal is None else str(figure.goal),
            _verdict(figure, judged=judged),
        )
    return table


def _met(figure: Figure) -> bool | None:
    return None if figure.goal is None else figure.goal.is_met(figure.value, figure.ratio)


def _verdict(figure: Figure, *, judged: bool) -> Text:
    met = _met(figure)
    if met is None:
        return Text("")
    if not judged:
        return Text("not judged", style="dim")
    return Text("met", style="green") if met else Text("missed", style="bold red")


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= _SMALL else f"{number:.2f}"
