from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import (
    Figure,
    latency_figures,
    median_ratio,
    percentile,
    ratio_at_least,
    value_below,
    write_figures,
)


def test_throughput_meets_its_goal_by_its_ratio_and_latency_by_its_value(tmp_path: Path) -> None:
    figures = [
        Figure("fast enough", 40_000, "events/s", 0.4, ratio_at_least(0.4)),
        Figure("too slow", 39_000, "events/s", 0.39, ratio_at_least(0.4)),
        Figure("soon enough", 5.9, "ms", 0.98, value_below(6)),
        Figure("too late", 6.0, "ms", 1.0, value_below(6)),
        Figure("baseline", 100_000, "rows/s"),
    ]
    write_figures(figures, tmp_path / "bench.json", judged=True)
    assert [row["met"] for row in json.loads((tmp_path / "bench.json").read_text())] == [True, False, True, False, None]


def test_run_that_is_not_judged_meets_and_misses_nothing(tmp_path: Path) -> None:
    write_figures([Figure("drain", 1, "events/s", 0.1, ratio_at_least(0.4))], tmp_path / "bench.json", judged=False)
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert row["met"] is None
    assert row["goal"] == "ratio ≥ 0.4"


def test_ratio_is_taken_round_by_round() -> None:
    """The machine was half as fast in the first round, for both alike."""
    assert median_ratio([10, 20, 22], [50, 100, 100]) == pytest.approx(0.2)


def test_percentiles_of_a_latency_are_medians_over_the_rounds() -> None:
    rounds = [[0.001] * 98 + [0.005] * 2, [0.002] * 98 + [0.009] * 2, [0.003] * 98 + [0.030] * 2]
    p50, p99 = latency_figures("latency", rounds, {50: None, 99: 20})
    assert p50.value == pytest.approx(2)
    assert p50.goal is None
    assert p99.value == pytest.approx(9)
    assert p99.ratio == pytest.approx(0.45)


def test_percentile_is_a_member_of_the_sample() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 100) == 3
