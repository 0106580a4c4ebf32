"""`attribution bench`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from cli.failures import Failed

#: What there is to measure. Repeated here so that ``--help`` needs none of it; a test keeps the two the same.
LETTERS = {
    "a": "receiver",
    "b": "drain",
    "c": "tracking",
    "d": "latency of events",
    "e": "latency of releases",
    "f": "growth of the park",
    "g": "results and archive",
    "h": "growth of the store",
    "i": "being watched",
}


class _Letters(click.ParamType[tuple[str, ...]]):
    name = "LETTERS"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(part.strip().lower() for part in str(value).split(",") if part.strip()))
        if not chosen or not set(chosen) <= LETTERS.keys():
            self.fail(f"name some of {', '.join(LETTERS)}, with commas in between", param, context)
        return chosen


class _Millions(click.ParamType[tuple[int, ...]]):
    name = "MILLIONS"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        try:
            sizes = tuple(round(float(part) * 500_000) * 2 for part in str(value).split(","))
        except (ValueError, OverflowError):
            sizes = ()
        if not sizes or min(sizes) <= 0 or list(sizes) != sorted(set(sizes)):
            self.fail("name sizes in millions, smallest first, with commas in between, such as 0.1,1,5", param, context)
        return sizes


@click.command()
@click.option(
    "--only",
    type=_Letters(),
    default=",".join(LETTERS),
    help="Measure some only: " + ", ".join(f"{letter} {what}" for letter, what in LETTERS.items()) + ".",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds to take the medians of.")
@click.option(
    "--stored",
    type=_Millions(),
    help="Sizes of the growing store, in millions of events. 20 take half an hour and 40 GB.  [default: 0.1,1,5,20]",
)
@click.option("--quick", is_flag=True, help="Do little of everything, to see that it works. Goals are not judged.")
@click.option(
    "--state-dir",
    default=Path(".state/bench"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the servers, which is emptied before and removed after.",
)
@click.option(
    "--output",
    default=Path(".state/bench.json"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the figures are written as JSON.",
)
def bench(
    only: tuple[str, ...], rounds: int, stored: tuple[int, ...] | None, quick: bool, state_dir: Path, output: Path
) -> None:
    """Measure throughput and latency against their goals.

    On PostgreSQL and Redis of its own, next to baselines measured in the same run. Takes up to twenty minutes, and is
    worth something if the machine does nothing else. A goal that is missed is a finding and no failure; an
    event that is lost ends it with 1.
    """
    from rich.console import Console

    from benchmarks.bench import QUICK, Bench, Sizes
    from benchmarks.measurements import MEASUREMENTS
    from benchmarks.report import Figure, table_of, write_figures
    from benchmarks.servers import Lost, bench_servers

    # In a file or a log, where there is no width to keep to, no row of the table should be broken.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    started = time.monotonic()

    def say(sentence: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        console.print(f"[dim]{minutes:>2}:{seconds:02}[/dim] {sentence}")

    figures: list[Figure] = []
    say("starting PostgreSQL and Redis")
    try:
        with bench_servers(state_dir) as servers:
            sizes = QUICK if quick else Sizes()
            run = Bench(servers, replace(sizes, stored=stored) if stored else sizes, rounds, say)
            for letter in only:
                figures += MEASUREMENTS[letter](run)
    except Lost as lost:
        raise Failed(str(lost)) from None
    finally:
        if figures:
            console.print(table_of(figures, judged=not quick))
            write_figures(figures, output, judged=not quick)
            console.print(f"Written to {output}.", style="dim")
