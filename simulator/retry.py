"""What Event Grid does with a webhook's answer. Waits are in Event Grid's own seconds; the engine scales them."""

from __future__ import annotations

from typing import Final

#: Codes that count as delivered.
SUCCESS: Final = frozenset({200, 201, 202, 203, 204})
#: Codes after which a webhook's event is dead-lettered, or lost: Event Grid never sends it again.
NEVER_RETRIED: Final = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 413: "PayloadTooLarge"}

#: Waits before the 2nd, 3rd … attempt. The last one repeats.
SCHEDULE: Final = (10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200)
#: Shortest wait that an answer asks for, where it is not the usual one.
_SHORTEST_WAIT: Final = {404: 300, 408: 120, 503: 30}
_USUAL_SHORTEST_WAIT: Final = 10

#: Attempts, and age in seconds, after which an event is given up.
MOST_ATTEMPTS: Final = 30
TIME_TO_LIVE: Final = 24 * 3600
#: Seconds a webhook has to answer.
RESPONSE_TIMEOUT: Final = 30.0

#: Failures in a row after which the whole endpoint is left alone for a while, and for how many seconds.
FAILURES_BEFORE_PROBATION: Final = 10
_PROBATION: Final = {"SocketError": 30, "NotFound": 300}
_USUAL_PROBATION: Final = 10


def outcome(status: int) -> str:
    """Return the name that Event Grid's dead letters give to an answer that is not a success."""
    return {**NEVER_RETRIED, 404: "NotFound", 408: "TimedOut"}.get(status, "Busy")


def wait_before(attempt: int, status: int | None) -> int:
    """Return the wait before ``attempt`` (the first retry is 2), after ``status``, or None if no answer came."""
    shortest = _SHORTEST_WAIT.get(status or 0, _USUAL_SHORTEST_WAIT)
    return max(shortest, SCHEDULE[min(attempt - 2, len(SCHEDULE) - 1)])


def probation(last_outcome: str) -> int:
    """Return how long an endpoint that keeps failing with ``last_outcome`` is left alone."""
    return _PROBATION.get(last_outcome, _USUAL_PROBATION)
