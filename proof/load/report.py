"""What a phase has shown, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proof.load.bounds import ceiling_of
from proof.load.memory import MIB, Span
from proof.load.run import Phase


def report(phase: Phase) -> RenderableType:
    """Return the figures of a phase, the memory of every process, and what was wrong."""
    return Group(*_parts(phase))


def _parts(phase: Phase) -> Iterator[RenderableType]:
    figures = Table(title=phase.name, title_justify="left", title_style="bold", box=None, show_header=False)
    figures.add_column(style="dim")
    figures.add_column()
    for what, value in phase.figures:
        figures.add_row(what, value)
    yield figures
    if phase.memory:
        yield _memory(phase)
    for sentence in phase.wrong:
        yield Text(sentence, style="bold red")
    yield ""


def _memory(phase: Phase) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("memory, MiB", style="dim")
    for heading in ("start", "peak", "end", "bound", *(["growth"] if phase.steady else [])):
        table.add_column(heading, justify="right")
    for name, span in phase.memory.items():
        table.add_row(name, *_cells(span, ceiling_of(name), steady=phase.steady))
    return table


def _cells(span: Span, bound: int, *, steady: bool) -> Iterator[str | Text]:
    yield f"{span.start / MIB:,.1f}"
    yield Text(f"{span.peak / MIB:,.1f}", style="bold red" if span.peak > bound * MIB else "")
    yield f"{span.end / MIB:,.1f}"
    yield f"{bound:,}"
    if steady:
        yield Text(f"{span.growth / MIB:+,.1f}", style="bold red" if span.leaks else "")
