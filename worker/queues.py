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

#: Every task that there is, and its queue.
QUEUE_OF: Final = {
    "drain_events": DRAIN,
    "track_message": TRACKING,
    "track_messages": TRACKING,
    "sweep_parked": MAINTENANCE,
    "purge": MAINTENANCE,
    "purge_archive": MAINTENANCE,
    "count_campaigns": MAINTENANCE,
    "detect_rewrites": MAINTENANCE,
    "measure": MAINTENANCE,
    "watch_native": MAINTENANCE,
    "send_webhooks": MAINTENANCE,
}

#: kombu keeps messages of other priorities in lists of their own, named behind these bytes.
PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
