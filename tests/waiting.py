"""The one way in which tests wait for something that happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(assertion: Callable[[], T], *, within: float = 10.0, every: float = 0.02) -> T:
    """Call ``assertion`` until it no longer raises `AssertionError`, and return what it returned.

    ``within`` and ``every`` are seconds. Past the former, its last `AssertionError` is raised as it is. Any other
    exception ends the waiting at once.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(every)
