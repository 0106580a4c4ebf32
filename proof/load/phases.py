"""The phases of a run, in their order; and the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from proof.load.at_once import batches, bursts
from proof.load.bounds import judge_memory
from proof.load.failures import LoadFailed
from proof.load.limit import limit, overload
from proof.load.memory import MemoryWatch
from proof.load.million import million
from proof.load.oracle import judge
from proof.load.run import Load, Phase
from proof.load.sizes import Sizes
from proof.load.system import system

PHASES: Final[Mapping[str, Callable[[Load], Iterable[Phase]]]] = {
    "limit": limit,
    "overload": overload,
    "bursts": bursts,
    "batches": batches,
    "million": million,
}


def run_load(
    state_dir: Path, sizes: Sizes, names: Sequence[str], seed: int, say: Callable[[str], None]
) -> Iterator[Phase]:
    """Yield what each of the phases ``names`` has shown; a last one, without memory, compares what is stored.

    Raises:
        LoadFailed: the load could not be applied, or the system did not come to rest; or, after the last phase,
            something was wrong in one of them.
        stack.errors.StackError: a server did not start.
    """
    say("starting PostgreSQL, Redis, receiver, worker and beat")
    with system(state_dir, sizes) as running, MemoryWatch(running.processes, sizes.glance_seconds) as watch:
        load = Load(running, sizes, seed, say, watch)
        wrong: list[str] = []
        for work in (*(PHASES[name] for name in names), _compare):
            for phase in work(load):
                phase.wrong += judge_memory(phase)
                wrong += phase.wrong
                yield phase
        if wrong:
            raise LoadFailed(f"{' '.join(wrong)} What was stored and said is kept in {state_dir}.")


def _compare(load: Load) -> list[Phase]:
    load.say("comparing every event with what was sent")
    compared = Phase("every event")
    with load.system.connect() as connection:
        compared.wrong += judge(load.truth, connection)
    compared.note("events", f"{load.truth.events:,}")
    compared.note("redelivered besides", f"{load.truth.redelivered:,}")
    compared.note("malformed besides", f"{load.truth.malformed:,}")
    return [compared]
