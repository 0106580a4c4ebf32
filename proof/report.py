"""Prints what a round has come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proof.history import Options, Struck
from proof.run import Outcome
from simulator.report import faults_of, listing

#: How a round is called whose every event is where it belongs.
SOUND = "PROVED"


def report(options: Options, outcome: Outcome) -> RenderableType:
    """Return the tables of faults and of events, what is wrong, and the verdict."""
    return Group(
        _fault_table(outcome.struck), "", _event_table(options, outcome), *listing(outcome.verdict), _verdict(outcome)
    )


def _fault_table(struck: Sequence[Struck]) -> Table:
    by_kind: defaultdict[str, list[Struck]] = defaultdict(list)
    for each in struck:
        by_kind[each.kind].append(each)
    table = Table(title=f"{len(struck)} faults", title_justify="left")
    table.add_column("fault")
    table.add_column("injected", justify="right")
    table.add_column("without effect", justify="right")
    table.add_column("against", overflow="fold")
    table.add_column("longest recovery", justify="right")
    for kind, strikes in sorted(by_kind.items()):
        targets = sorted({each.target for each in strikes} - {""})
        longest = max(each.recovery for each in strikes)
        idle = sum(not each.effect for each in strikes)
        table.add_row(kind, str(len(strikes)), str(idle or ""), ", ".join(targets), f"{longest:.1f} s")
    return table


def _event_table(options: Options, outcome: Outcome) -> Table:
    table = Table(title=f"Events (seed {options.seed})", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, count in _counts(outcome):
        table.add_row(name, f"{count:,}")
    for name, faults in (*faults_of(outcome.verdict), ("given up by Event Grid", outcome.given_up)):
        table.add_row(name, Text(f"{len(faults):,}", style="bold red" if faults else "green"))
    return table


def _counts(outcome: Outcome) -> Iterator[tuple[str, int]]:
    verdict = outcome.verdict
    yield "sent", verdict.sent
    yield "acknowledged", verdict.acknowledged
    yield "redelivered", outcome.tally.redelivered
    yield "requests that were retried", outcome.tally.retries
    yield "attributed", verdict.attributed
    yield "parked", verdict.parked
    yield "expired", verdict.expired
    yield "quarantined", verdict.quarantined
    yield "none of our business", verdict.ignored
    for name, count in verdict.in_listmonk.items():
        yield f"listmonk's {name}" if name in {"views", "clicks", "bounces"} else name, count
    yield "messages tracked by Celery alone", outcome.by_celery
    yield "of these, lost by it or still to come", outcome.lost_by_celery


def _verdict(outcome: Outcome) -> Text:
    verdict = outcome.verdict
    lost, twice, wrong = len(verdict.lost) + len(outcome.given_up), len(verdict.twice), len(verdict.wrong)
    longest = max((each.recovery for each in outcome.struck), default=0.0)
    return Text(
        f"{SOUND if outcome.sound else 'BROKEN'}: lost {lost:,}, twice {twice:,}, wrong {wrong:,}, of"
        f" {verdict.acknowledged:,} acknowledged events, through {len(outcome.struck)} faults;"
        f" longest recovery {longest:.1f} s, {outcome.seconds:.0f} s in all.",
        style="bold green" if outcome.sound else "bold red",
    )
