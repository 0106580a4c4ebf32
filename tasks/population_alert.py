"""The alert that too few events or messages have the id by which they find each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.telemetry import metrics
from worker.telemetry.error_tracking import report
from worker.telemetry.exposition import Samples

#: Share of an hour's events, and of its trackings, that should have one: below, attribution falls back or fails.
LEAST_SHARE: Final = 0.95

_WHAT: Final = {"engagements": "views and clicks", "messages": "tracked messages"}


def report_population(measured: Mapping[metrics.Measure, Samples], *, least: int) -> list[str]:
    """Report each population that is below 95 %, of ``least`` at least; return which. Of few, a share says little."""
    of = {name: value for (name,), value in measured.get(metrics.POPULATION_OF, ())}
    shares = {name: value for (name,), value in measured.get(metrics.POPULATION, ())}
    low = [name for name, share in shares.items() if share < LEAST_SHARE and of[name] >= least]
    for name in low:
        report(
            f"population_{name}",
            f"fewer than 95 % of the last hour's {_WHAT[name]} have an internet_message_id",
            counts={"percent": round(100 * shares[name], 1), "of": of[name]},
        )
    return low
