"""Everything that can be measured, by the letter that each figure's name begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from benchmarks import drain, growth, latency, park, receiver, release, results, tracking, watching
from benchmarks.bench import Bench
from benchmarks.report import Figure

MEASUREMENTS: Final[Mapping[str, Callable[[Bench], list[Figure]]]] = {
    "a": receiver.measure,
    "b": drain.measure,
    "c": tracking.measure,
    "d": latency.measure,
    "e": release.measure,
    "f": park.measure,
    "g": results.measure,
    "h": growth.measure,
    "i": watching.measure,
}
