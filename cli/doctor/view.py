"""How results are shown: as a list for people, worst first within each subject, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.doctor.examination import Result
from cli.doctor.findings import Level
from cli.formats import console, printable, write_document
from worker.version import version

_STYLES: Final = {
    Level.FAILURE: ("✗", "bold red"),
    Level.WARNING: ("!", "yellow"),
    Level.HINT: ("i", "cyan"),
    Level.OK: ("✓", "green"),
}
_COUNTED: Final = {
    Level.FAILURE: ("failure", "failures"),
    Level.WARNING: ("warning", "warnings"),
    Level.HINT: ("hint", "hints"),
}


def show(results: Sequence[Result], *, everything: bool, ignored: Collection[str]) -> None:
    """Show what was found, what could not be looked at and why, and a line that counts it all."""
    screen = console()
    shown = [each for each in results if each.level in _STYLES and (everything or each.level is not Level.OK)]
    for subject in dict.fromkeys(each.subject for each in shown):
        screen.print(Text(subject.title, "bold"))
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        of_it = [each for each in shown if each.subject is subject]
        for each in sorted(of_it, key=lambda each: list(_STYLES).index(each.level)):
            sign, style = _STYLES[each.level]
            told = Text(printable(each.sentence), "" if each.level is Level.OK else "default")
            if each.fix:
                told.append(f"\n{printable(each.fix)}", "dim")
            table.add_row(Text(sign, style), Text(each.check.name, style), told)
        screen.print(Padding(table, (0, 0, 1, 2), expand=False))
    for reason, checks in _skipped(results).items():
        screen.print(Text(f"Not looked at, because {reason}: {', '.join(checks)}.", "dim"))
    screen.print(_summary(results, ignored))


def _skipped(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return the checks that were skipped, by the reason, each of which is told of once."""
    reasons: dict[str, list[str]] = {}
    for each in results:
        if each.level is Level.SKIPPED:
            reasons.setdefault(each.sentence, []).append(each.check.name)
    return reasons


def _summary(results: Sequence[Result], ignored: Collection[str]) -> Text:
    worst: dict[str, Level] = {}
    for each in results:
        known = worst.get(each.check.name, Level.OK)
        worst[each.check.name] = min(known, each.level, key=_severity)
    counts = Counter(each.level for each in results)
    in_order = sum(level is Level.OK for level in worst.values())
    parts = [f"{counts[level]} {words[counts[level] != 1]}" for level, words in _COUNTED.items() if counts[level]]
    skipped = [f"{counts[Level.SKIPPED]} not looked at"] if counts[Level.SKIPPED] else []
    left_out = [f"{len(set(ignored))} ignored"] if ignored else []
    rest = ", ".join(parts + skipped + left_out) or "nothing else"
    text = f"{in_order} of {len(worst)} checks found all in order; {rest}."
    style = next((_STYLES[level][1] for level in _COUNTED if counts[level]), "green")
    return Text(text, style)


def _severity(level: Level) -> int:
    return (Level.FAILURE, Level.WARNING, Level.HINT, Level.SKIPPED, Level.OK).index(level)


def write_json(results: Sequence[Result], *, healthy: bool, ignored: Collection[str]) -> None:
    """Write everything, what is in order included; docs/doctor.md names the keys, which stay."""
    counts = Counter(each.level for each in results)
    write_document(
        {
            "healthy": healthy,
            "checked_at": datetime.now(UTC),
            "version": version(),
            "counts": {level.value: counts[level] for level in Level},
            "ignored": sorted(set(ignored)),
            "findings": [
                {
                    "check": each.check.name,
                    "subject": each.subject.name,
                    "level": each.level.value,
                    "sentence": each.sentence,
                    "fix": each.fix,
                }
                for each in results
            ],
        }
    )
