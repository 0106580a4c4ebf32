"""When the alert about missing ids is told."""

from __future__ import annotations

import pytest

from tasks.population_alert import report_population
from worker.telemetry import metrics


@pytest.mark.parametrize(("share", "of", "low"), [
    (0.949, 200, ["engagements"]), (0.95, 200, []), (0.5, 199, []), (None, 0, []),
])  # fmt: skip
def test_a_population_below_95_percent_of_enough_is_reported(
    share: float | None, of: int, low: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, float]]] = []
    monkeypatch.setattr(
        "tasks.population_alert.report", lambda kind, _sentence, *, counts: told.append((kind, dict(counts)))
    )
    measured: dict[metrics.Measure, list[tuple[tuple[str, ...], float]]] = {
        metrics.POPULATION: [(("messages",), 1.0), *([(("engagements",), share)] if share is not None else [])],
        metrics.POPULATION_OF: [(("messages",), 10_000.0), (("engagements",), float(of))],
    }
    assert report_population(measured, least=200) == low
    assert told == [("population_engagements", {"percent": 94.9, "of": 200.0})] * len(low)


def test_where_postgresql_could_not_tell_there_is_nothing_to_report() -> None:
    assert report_population({}, least=1) == []
