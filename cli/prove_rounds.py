"""What `attribution prove` does, once it is clear what is wanted."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import click
import msgspec
from rich.console import Console

from cli.failures import Failed
from proof.catalogue import FAULTS
from proof.history import History, Judged, Options, history
from proof.probe import NotRecovered
from proof.report import report
from proof.run import Outcome, Tell, play
from proof.sabotage import SABOTAGES
from proof.target import Target, play_to
from simulator.doors import DoorShut, TrackingRefused
from simulator.subscription import HandshakeRefused
from simulator.truth import Truth


class NotProved(Failed):
    """Something was lost, counted twice or credited wrongly; or the system did not get well."""


def list_all(console: Console) -> None:
    """Print the kinds of faults, and the ways to break a build."""
    for kind, fault in FAULTS.items():
        console.print(f"[bold]{kind}[/]: {', '.join(fault.targets) or 'not possible on this machine'}", soft_wrap=True)
    console.print("\n--sabotage:")
    for name, sabotage in SABOTAGES.items():
        console.print(f"[bold]{name}[/]: {sabotage.SENTENCE}", soft_wrap=True)


def prove_rounds(options: Options, state_dir: Path, console: Console, *, soak: float = 0.0) -> None:
    """Play one round; with ``soak``, one after the other with ever new seeds, until so many seconds are over.

    Raises:
        NotProved: after the first round that is not sound.
    """
    _require_known(options)
    began = time.monotonic()
    for number in count():
        _prove_one(msgspec.structs.replace(options, seed=options.seed + number), state_dir, console)
        hours = (time.monotonic() - began) / 3600
        if hours * 3600 >= soak:
            return
        console.print(f"{number + 1} rounds in {hours:.1f} h, all sound; the next one.", style="dim")


def _prove_one(options: Options, state_dir: Path, console: Console) -> None:
    console.print(f"Seed {options.seed}: about {options.events:,} events.", style="bold")
    with history(_histories(state_dir), options) as written:
        try:
            outcome = play(options, state_dir, written, _teller(console))
        except NotRecovered as error:
            raise NotProved(f"{error} {_where(options, state_dir, written)}") from None
        written.add(_judged(outcome))
    console.print("", report(options, outcome), sep="\n")
    if not outcome.sound:
        raise NotProved(f"Not every event is where it belongs. {_where(options, state_dir, written)}")


def prove_target(options: Options, target: Target, state_dir: Path, console: Console) -> None:
    """Play a story to an installation of somebody's own, without faults.

    Raises:
        NotProved: an event of it is not where it belongs.
        CampaignNeeded: see `proof.target`.
    """
    truth = Truth()
    with history(_histories(state_dir), options) as written:
        ledger = written.path.with_suffix(".truth.jsonl")
        try:
            outcome = play_to(target, options, truth=truth, tell=_teller(console))
        except (HandshakeRefused, DoorShut, TrackingRefused) as error:
            raise Failed(f"{error}. Look at the URL and the secrets.") from None
        finally:
            truth.save(ledger)
        written.add(_judged(outcome))
    console.print("", report(options, outcome), sep="\n")
    if not outcome.sound:
        raise NotProved(f"Not every event is where it belongs. The ledger is {ledger}.")


def _histories(state_dir: Path) -> Path:
    """Beside the folder of the world, which is emptied at each start."""
    return state_dir.with_name(f"{state_dir.name}-history")


def _teller(console: Console) -> Tell:
    started = time.monotonic()
    return lambda sentence: console.print(
        f"{time.monotonic() - started:6.1f} s  {sentence}", style="dim", soft_wrap=True
    )


def _where(options: Options, state_dir: Path, written: History) -> str:
    return (
        f"The logs and the ledger are in {state_dir}, the history in {written.path};"
        f" `attribution prove --replay {written.path}` plays the run again."
    )


def _judged(outcome: Outcome) -> Judged:
    def sentences(faults: tuple[object, ...]) -> tuple[str, ...]:
        return tuple(" ".join(fault) for fault in faults)  # type: ignore[arg-type]

    verdict = outcome.verdict
    return Judged(
        sent=verdict.sent,
        acknowledged=verdict.acknowledged,
        lost=sentences(verdict.lost),
        twice=sentences(verdict.twice),
        wrong=sentences(verdict.wrong),
        given_up=len(outcome.given_up),
    )


def _require_known(options: Options) -> None:
    if unknown := sorted(set(options.kinds) - FAULTS.keys()):
        raise click.UsageError(f"There is no fault {unknown[0]!r}; --list names them all.")
    if options.sabotage and options.sabotage not in SABOTAGES:
        raise click.UsageError(f"There is no way to break a build named {options.sabotage!r}; --list names them all.")
