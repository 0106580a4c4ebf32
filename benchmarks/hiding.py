"""What it costs to hide recipients, beside reading their events: ``python -m benchmarks.hiding``. No server needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import click

from benchmarks.archive_sizes import bodies
from tasks.archiving import pack
from tasks.batch import Body
from tasks.eventgrid import Parsed, parse_body
from tasks.privacy.recipients import Recipients

EVENTS: Final = 20_000
TOGETHER: Final = 1000
ROUNDS: Final = 5


def main() -> None:
    """Print microseconds an event, in bodies of one event and of many, and bytes in the archive."""
    alone = [body.body for body in bodies(EVENTS, Random(1))]
    spans = range(0, EVENTS, TOGETHER)
    together = [b"[" + b",".join(body[1:-1] for body in alone[start : start + TOGETHER]) + b"]" for start in spans]
    recipients = Recipients(key="k" * 32)
    for name, made in (("one event a body", alone), (f"{TOGETHER} events a body", together)):
        hiding = _fastest(lambda made=made: [recipients.hide(body) for body in made])  # type: ignore[misc]
        reading = _fastest(lambda made=made: _read(made))  # type: ignore[misc]
        click.echo(f"{name:>20}: {hiding:.1f} µs to hide, {reading:.1f} µs to read an event")
    hidden = [recipients.hide(body) for body in alone]
    click.echo(f"in the archive: {_archived(alone):.0f} bytes an event, {_archived(hidden):.0f} with recipients hidden")


def _fastest(work: Callable[[], object]) -> float:
    """Return microseconds of processor time for each event, of the fastest of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken) / EVENTS * 1e6


def _read(made: Sequence[bytes]) -> Parsed:
    parsed = Parsed()
    received_at = bodies(1, Random(0))[0].received_at
    for body in made:
        parse_body(body, parsed, entry_id=None, received_at=received_at)
    return parsed


def _archived(made: Sequence[bytes]) -> float:
    received_at = bodies(1, Random(0))[0].received_at
    return len(pack([Body(body, None, received_at) for body in made[:TOGETHER]]).content) / TOGETHER


if __name__ == "__main__":
    main()
