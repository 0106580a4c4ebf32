"""`attribution load`."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

import click

from cli.failures import Failed

#: The phases, in their order. Repeated here so that ``--help`` needs none of them; a test keeps the two the same.
PHASES = {
    "limit": "as much as is drained, for --minutes, and memory flat",
    "overload": "a multiple of that, until 503, and recovery",
    "bursts": "50,000 events at once",
    "batches": "5,000 events in a request",
    "million": "a million parked events released by one call",
}


class _Phases(click.ParamType[tuple[str, ...]]):
    name = "PHASES"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        chosen = {part.strip().lower() for part in str(value).split(",") if part.strip()}
        if not chosen or not chosen <= PHASES.keys():
            self.fail(f"name some of {', '.join(PHASES)}, with commas in between", param, context)
        return tuple(name for name in PHASES if name in chosen)


@click.command()
@click.option(
    "--minutes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="How long the system is kept at its limit.",
)
@click.option(
    "--only",
    type=_Phases(),
    default=",".join(PHASES),
    help="Some phases only: " + "; ".join(f"{name}, {what}" for name, what in PHASES.items()) + ".",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=10),
    help="Bursts, batches and the million times this, to see that it works.",
)
@click.option("--backlog-limit", type=click.IntRange(1), help="Entries above which the receiver answers 503.")
@click.option("--seed", type=click.IntRange(0), help="The same seed sends the same. Drawn if not given.")
@click.option(
    "--state-dir",
    default=Path(".state/load"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the servers and logs, which is emptied before and, if all is well, removed after.",
)
def load(
    minutes: float, only: tuple[str, ...], scale: float, backlog_limit: int | None, seed: int | None, state_dir: Path
) -> None:
    """Load the system to its limit and beyond, and watch its memory.

    Starts PostgreSQL, Redis, receiver, worker and beat of its own, and sends what Event Grid and a mailer would. Ends
    with 1 if an event is lost, twice or wrong, if the backlog does not return to zero, or if memory is not bounded.
    """
    from rich.console import Console

    from proof.load.failures import LoadFailed
    from proof.load.phases import run_load
    from proof.load.report import report
    from proof.load.sizes import Sizes

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    started = time.monotonic()

    def say(sentence: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        console.print(f"[dim]{minutes:>2}:{seconds:02}[/dim] {sentence}")

    seed = secrets.randbelow(1_000_000) if seed is None else seed
    sizes = Sizes(limit_seconds=minutes * 60).scaled(scale, backlog_limit)
    say(f"seed {seed}")
    try:
        for phase in run_load(state_dir, sizes, only, seed, say):
            console.print(report(phase))
    except LoadFailed as failed:
        raise Failed(str(failed)) from None
    console.print("Nothing lost, nothing twice, nothing wrong; memory bounded.", style="bold green")
