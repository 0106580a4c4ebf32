"""What ends a run, as against what it finds."""

from __future__ import annotations


class LoadFailed(Exception):
    """The load could not be applied, or the system did not come to rest: the sentence says what happened."""
