"""Celery's queues. Separate ones, not priorities, so that no kind of work can starve another."""

from __future__ import annotations

from typing import Final

#: Wake-ups of the drain. They carry nothing.
DRAIN: Final = "attribution.drain"
#: Send-trackings of mailers, each with its data.
TRACKING: Final = "attribution.tracking"
#: Sweeps and other ticks of beat.
MAINTENANCE: Final = "attribution.maintenance"

ALL: Final = (TRACKING, DRAIN, MAINTENANCE)

#: kombu keeps messages of other priorities in lists of their own, named behind these bytes.
PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
