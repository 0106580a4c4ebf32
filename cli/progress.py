"""A progress bar for commands that work for minutes: live on a terminal, and silent where nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress(doing: str, total: float) -> Iterator[Callable[[Iterable[float]], None]]:
    """Show a bar on standard error while the block runs; yield what runs through steps and moves the bar.

    ``total`` is what the steps add up to. If standard error is no terminal there is nothing to see: the hundreds of
    lines of a bar would bury what matters in a log.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=max(total, 1))

        def follow(steps: Iterable[float]) -> None:
            for step in steps:
                bar.advance(task, step)

        yield follow
