"""Prints a verdict, and what Event Grid saw, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.eventgrid import Tally
from simulator.verdict import Fault, Verdict

#: Faults of one kind that are listed one by one; the rest are only counted.
_LISTED = 10
#: Counts that are shown only if there is something to count.
_RARE = ("given up", "expired", "none of our business")


def verdict_report(verdict: Verdict) -> RenderableType:
    """Return the oracle's verdict: a table of counts, the faults, and a last line that says it in words."""
    table = Table(title="The oracle's count", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, count in _counts(verdict):
        if count or name not in _RARE:
            table.add_row(name, f"{count:,}")
    for name, faults in faults_of(verdict):
        table.add_row(name, Text(f"{len(faults):,}", style="bold red" if faults else "green"))
    return Group(table, *listing(verdict), last_line(verdict))


def last_line(verdict: Verdict) -> Text:
    """Say the verdict in one sentence."""
    if verdict.sound:
        rows = sum(verdict.in_listmonk.get(name, 0) for name in ("views", "clicks", "bounces"))
        and_rows = f", and so is each of {rows:,} rows in listmonk's tables" if verdict.in_listmonk else ""
        return Text(
            f"Sound: every one of {verdict.acknowledged:,} acknowledged events is where it belongs, exactly once"
            f"{and_rows}.",
            style="bold green",
        )
    off = len({fault.subject for _, faults in faults_of(verdict) for fault in faults})
    what = "events and rows" if verdict.in_listmonk else "events"
    return Text(f"Unsound: {off:,} {what} are not where they belong.", style="bold red")


def delivery_report(tally: Tally, *, given_up: int, seconds: float) -> RenderableType:
    """Return what Event Grid delivered, how often it had to try again, and how it was answered."""
    table = Table(title="Event Grid's deliveries", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, count in (
        ("requests", tally.requests),
        ("of these, retries", tally.retries),
        ("events acknowledged", tally.acknowledged),
        ("of these, to come again", tally.redelivered),
        ("events given up", given_up),
    ):
        table.add_row(name, f"{count:,}")
    for answer, count in sorted(tally.answers.items(), key=str):
        table.add_row(f"answered {answer}", f"{count:,}")
    table.add_row("events a second", f"{tally.acknowledged / seconds:,.0f}" if seconds else "-")
    return table


def _counts(verdict: Verdict) -> Iterator[tuple[str, int]]:
    yield "events sent", verdict.sent
    yield "acknowledged", verdict.acknowledged
    yield "given up", verdict.dropped
    yield "attributed", verdict.attributed
    yield "parked", verdict.parked
    yield "expired", verdict.expired
    yield "quarantined", verdict.quarantined
    yield "none of our business", verdict.ignored
    for name, count in verdict.in_listmonk.items():
        yield f"listmonk's {name}" if name in {"views", "clicks", "bounces"} else name, count


def faults_of(verdict: Verdict) -> Iterator[tuple[str, tuple[Fault, ...]]]:
    """Return what is off, by its kind."""
    yield "lost", verdict.lost
    yield "twice", verdict.twice
    yield "wrong", verdict.wrong


def listing(verdict: Verdict) -> Iterator[Text]:
    """Say of each thing that is off what is the matter with it, up to some of each kind."""
    for name, faults in faults_of(verdict):
        for fault in faults[:_LISTED]:
            yield Text(f"{name}: {fault.subject} {fault.sentence}", style="red")
        if len(faults) > _LISTED:
            yield Text(f"{name}: and {len(faults) - _LISTED:,} more", style="red")
