"""What a fault is, and the list of all that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from proof.world import World

#: Strikes a target of the world, with draws of its own, until it is left. What it yields says what it has done.
_Strike = Callable[[World, str, Random], Iterator[str]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and what it can be done to.

    Args:
        targets: parts, or connections, of the world; one nameless target where there is nothing to choose.
        lasts: shortest and longest time in seconds before it is lifted.
        every_target: whether even the short run strikes each of the targets.
    """

    kind: str
    targets: tuple[str, ...]
    lasts: tuple[float, float]
    every_target: bool
    strike: Callable[[World, str, Random], AbstractContextManager[str]]


#: All faults, by kind, in the order in which their modules define them.
FAULTS: Final[dict[str, Fault]] = {}


def fault(
    kind: str, *, targets: tuple[str, ...] = ("",), lasts: tuple[float, float], every_target: bool = False
) -> Callable[[_Strike], _Strike]:
    """Put a function into `FAULTS`."""

    def register(strike: _Strike) -> _Strike:
        FAULTS[kind] = Fault(kind, targets, lasts, every_target, contextmanager(strike))
        return strike

    return register
