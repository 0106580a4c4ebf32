"""Comparing a server's clock with this machine's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from cli.doctor.findings import Finding, failure, warning

#: Seconds by which clocks that are kept right never differ.
_NOTICED: Final = 2.0
#: Seconds at which an entry seems idle, a lease run out, or a token not valid yet.
_HARMFUL: Final = 30.0


def judge_clock(server: str, ask: Callable[[], float]) -> Iterator[Finding]:
    """Compare what ``ask`` returns, the server's time in seconds since 1970, with ours, the way there not counted."""
    before = time.time()
    theirs = ask()
    after = time.time()
    # It was read at some time in between, so anything in between is no difference.
    apart = theirs - after if theirs > after else min(0.0, theirs - before)
    if abs(apart) < _NOTICED:
        return
    sentence = (
        f"The clock of {server} is {abs(apart):,.0f} seconds {'ahead of' if apart > 0 else 'behind'} this machine's:"
        " ages and waits are shown and judged wrongly."
    )
    fix = "Have both kept by NTP (`timedatectl` tells); then look whose it was that was wrong."
    yield failure(sentence, fix) if abs(apart) >= _HARMFUL else warning(sentence, fix)
