"""Park, commit, and believe that the message would have been found if it were there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.parking import Swept
from proof.patching import patch
from tasks import events, parked

SENTENCE = "a drain does not look again at what it has parked once that is committed, and nothing sweeps"
SHOWS_AS = "lost"


def apply() -> None:
    """Leave the race between parking and tracking open, and take the net away that is under it."""
    patch(events, "settle", lambda settle: lambda *_args, **_more: 0)
    patch(parked, "adopt", lambda adopt: lambda _ctx: 0)
    patch(parked, "retry_due", _finding_nothing)


def _finding_nothing(retry_due: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _ctx: Swept()
