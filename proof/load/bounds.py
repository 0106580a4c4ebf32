"""How much memory each process may hold, whatever arrives."""

from __future__ import annotations

from typing import Final

from proof.load.memory import MIB, TOLERANCE_BYTES, TOLERANCE_SHARE
from proof.load.run import Phase

#: Most that a process may hold at any time, in MiB, by what its name begins with. PostgreSQL's is that of the family,
#: buffers included; Redis holds the backlog, which its limit bounds.
CEILINGS: Final = {
    "receiver": 256,
    "worker": 1536,
    "Celery child": 1536,
    "drain process": 768,
    "beat": 192,
    "Redis": 3072,
    "PostgreSQL": 2048,
}


def judge_memory(phase: Phase) -> list[str]:
    """Return a sentence for each process that held too much, or, under a steady load, grew."""
    wrong = []
    for name, span in phase.memory.items():
        most = ceiling_of(name)
        if span.peak > most * MIB:
            wrong.append(f"The {name} held {span.peak / MIB:,.0f} MiB; {most:,} MiB is its bound.")
        if phase.steady and span.leaks:
            wrong.append(
                f"The {name} grew by {span.growth / MIB:,.1f} MiB under a steady load;"
                f" {TOLERANCE_BYTES // MIB} MiB, or {TOLERANCE_SHARE:.0%} of its peak, would be no growth."
            )
    return wrong


def ceiling_of(name: str) -> int:
    """Return the bound of a process, in MiB."""
    return next(most for beginning, most in CEILINGS.items() if name.startswith(beginning))
