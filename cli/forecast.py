"""`attribution parked --forecast`: how many will be matched and when, and which need not be waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from cli.formats import console

if TYPE_CHECKING:
    from db.forecast import Waits
    from db.survival import Expected, Forecast

#: What the events of each table are to an operator.
_KINDS: Final = {"azure_delivery_events": "Delivery reports", "azure_engagement_events": "Engagement reports"}


def show_forecast(limit: int) -> None:
    """Print the forecast of each kind, and up to ``limit`` events that are not worth waiting for."""
    from cli.database import connected
    from cli.parked_view import show_events
    from db.forecast import list_older, read_waits
    from db.parking import EVENT_TABLES
    from db.reporting import read_only
    from worker.settings import WorkerSettings

    settings = WorkerSettings.read()
    # What is past the deadline expires at its next attempt.
    deadline = settings.park_deadline + settings.park_schedule[-1]
    hopeless: list[tuple[str, Any]] = []
    count = 0
    with connected() as conn:
        read_only(conn)
        for table in EVENT_TABLES:
            waits = read_waits(conn, table)
            told = waits.forecast(deadline)
            for sentence in sentences(_KINDS[table], waits, told):
                console().print(sentence, soft_wrap=True)
            if told.hopeless_seconds is not None:
                count += told.hopeless
                age = timedelta(seconds=told.hopeless_seconds)
                hopeless += [(table, row) for row in list_older(conn, table, age=age, limit=limit)]
    if hopeless:
        console().print(
            f"Not worth waiting for: {count:,}. They have waited longer than anything that was matched, or as long as"
            " what hardly ever was. See why their messages are not tracked:",
            soft_wrap=True,
        )
        show_events(console(), hopeless, limit)
        if count > limit:
            console().print(f"{limit:,} of {count:,} shown, the oldest; --limit {count} shows all.")


def sentences(kind: str, waits: Waits, told: Forecast) -> Iterator[str]:
    """Say in words what is known of one kind of events, and nothing that is not."""
    from db.forecast import LATELY, WINDOW
    from db.survival import LEAST

    past = waits.curve()
    matched = sum(waits.matched.values()) + sum(waits.matched_lately.values())
    yield (
        f"{kind}: {told.parked:,} parked. In the last {WINDOW.days} days {past.events:,} were,"
        f" of which {matched:,} have been matched."
    )
    known = told.parked - told.untold
    if known:
        yield f"  {_expectations(told, known)}"
    if told.untold and past.events >= LEAST and not matched:
        yield (
            "  Nothing that was parked was ever matched, so there is nothing to compare these with. Is there one cause"
            " for all? `attribution doctor` looks for it; docs/runbook.md, AttributionParkedTooOld."
        )
    elif told.untold and past.events < LEAST:
        yield f"  Too few were parked before to tell what will become of these: a forecast needs {LEAST} at least."
    elif told.untold:
        yield (
            f"  What will become of {told.untold:,} of them is not known: fewer than {LEAST} events were followed"
            " beyond the age they have."
        )
    lately = waits.lately()
    if lately.are_too_few:
        yield (
            f"  Something has changed: of those parked in the last {words(LATELY.total_seconds())} {lately.matched:,}"
            f" were matched, and the days before let expect {lately.expected:,.0f}. Has a mailer stopped tracking? What"
            " is said here is then too good."
        )
    if waits.others:
        yield f"  {waits.others:,} more were brought by a run or by another program; the past says nothing of those."


def _expectations(told: Forecast, known: int) -> str:
    never = round(told.never.events)
    soon = min(round(told.soon.events), known - never)
    later = known - never - soon
    parts = []
    if told.within_seconds is not None:
        share = f"{told.soon.events / known:.0%}".replace("%", " %")
        parts.append(
            f"{soon:,} will be matched within {words(told.within_seconds)} ({share}; 95 % sure: {_range(told.soon)})"
        )
        if later:
            parts.append(f"{later:,} later")
    end = "never will" if told.reaches_deadline else f"will not by the age of {words(told.known_seconds)}"
    parts.append(f"{never:,} {end} ({_range(told.never)})")
    return ", ".join(parts) + ("." if told.reaches_deadline else "; the past goes no further yet.")


def _range(expected: Expected) -> str:
    return f"{int(expected.low):,} to {ceil(expected.high - 1e-9):,}"


def words(seconds: float) -> str:
    """Return a time in words, rounded up: what is promised within it has happened by then."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{ceil(seconds / size - 1e-9)} {unit}"
    return f"{ceil(seconds - 1e-9)} s"
