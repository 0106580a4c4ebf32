"""Refuse a caller as a web server would."""

from __future__ import annotations

from starlette.responses import PlainTextResponse

from proof.patching import patch
from worker.receiving import callers

SENTENCE = "a wrong secret is answered with 401, after which Event Grid drops the events for good"
SHOWS_AS = "lost"


def apply() -> None:
    """Answer 401 where the receiver answers 404."""
    patch(callers, "NOT_FOUND", lambda _answer: PlainTextResponse("Unauthorized", 401))
