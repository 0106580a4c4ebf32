"""Which fault strikes when: drawn from a seed, so that a run can be played again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Self

from proof.faults.fault import Fault


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of a plan. ``seed`` decides whatever is drawn while it lasts."""

    number: int
    kind: str
    target: str
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        """What is struck, and how, for people."""
        return f"{self.target}: {self.kind}" if self.target else self.kind


@dataclass(frozen=True)
class Plan:
    """All strikes of a run, in their order."""

    strikes: tuple[Strike, ...]

    @classmethod
    def draw(cls, faults: Mapping[str, Fault], *, seed: int, count: int | None, kinds: Collection[str] = ()) -> Self:
        """Draw ``count`` strikes of ``faults`` with ``seed``: every kind against every target, then the same anew.

        Without a ``count`` it is the short plan: every kind once, against one of its targets or, where it matters, all.
        With ``kinds`` it has no others.
        """
        rng = Random(seed)
        wanted = [fault for kind, fault in faults.items() if not kinds or kind in kinds]
        pairs = [(fault, target) for fault in wanted for target in fault.targets]
        if count is None:
            chosen = [
                (fault, target)
                for fault in wanted
                for target in (
                    fault.targets if fault.every_target else rng.sample(fault.targets, min(1, len(fault.targets)))
                )
            ]
            rng.shuffle(chosen)
        else:
            chosen = list(islice(_endlessly(pairs, rng), count))
        return cls(
            tuple(
                Strike(number, fault.kind, target, _duration(fault, rng, short=count is None), rng.getrandbits(32))
                for number, (fault, target) in enumerate(chosen, start=1)
            )
        )


def _endlessly(pairs: list[tuple[Fault, str]], rng: Random) -> Iterator[tuple[Fault, str]]:
    while pairs:
        rng.shuffle(pairs)
        yield from pairs


def _duration(fault: Fault, rng: Random, *, short: bool) -> float:
    shortest, longest = fault.lasts
    return round(shortest if short else rng.uniform(shortest, longest), 2)
