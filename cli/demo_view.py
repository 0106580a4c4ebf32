"""How the demo looks while it plays."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simulator import oracle
from simulator.run import Simulation
from simulator.story import Story
from simulator.truth import Truth

#: Seconds between two looks at the database.
_GLANCE = 0.2
#: Seconds between two lines where there is no terminal to draw on.
_LINE = 2.0
_BARS = " ▁▂▃▄▅▆▇█"
_SPARKS = 48


@dataclass
class Stage:
    """What there is to see of the story while it plays."""

    console: Console
    story: Story
    truth: Truth
    playing: Simulation
    scale: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _started: float = field(default_factory=time.monotonic)
    _states: Counter[str] = field(default_factory=Counter)
    _parked: list[int] = field(default_factory=list)

    async def show(self, database_url: str) -> None:
        """Look at the database a few times a second and draw, until all is `over`."""
        with oracle.connect(database_url) as connection:
            if not self.console.is_terminal:
                while not self.over.is_set():
                    await self._look(connection, _LINE)
                    self.console.print(self.line(), soft_wrap=True)
                return
            with Live(self.draw(), console=self.console, auto_refresh=False) as live:
                while not self.over.is_set():
                    await self._look(connection, _GLANCE)
                    live.update(self.draw(), refresh=True)

    async def _look(self, connection: psycopg.Connection, wait: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), wait)
        self._states = await asyncio.to_thread(oracle.count_states, connection)
        self._parked.append(self._states["parked"])

    def _chapter(self) -> str:
        if self.playing.player.played == len(self.playing.player.steps):
            return "The last events settle."
        return self.story.chapter((time.monotonic() - self._started) / self.scale)

    def line(self) -> Text:
        """Say in one line what the stage shows."""
        return Text(
            f"received {len(self.truth.acknowledged):>5,}   attributed {self._states['attributed']:>5,}   "
            f"parked {self._states['parked']:>4,}   tracked {self.playing.mailer.tracked:>4,}   {self._chapter()}"
        )

    def draw(self) -> RenderableType:
        """Return the stage as it is now."""
        tally = self.playing.grid.tally
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", justify="right")
        grid.add_column(justify="right", min_width=7)
        grid.add_column()
        received, tracked = len(self.truth.acknowledged), self.playing.mailer.tracked
        steps = self.playing.player
        duplicates = tally.acknowledged - received
        grid.add_row("story", f"{steps.played / len(steps.steps):.0%}", _bar(steps.played, len(steps.steps), "cyan"))
        grid.add_row("events received", f"{received:,}", f"[dim]and {duplicates:,} of them once more[/dim]")
        grid.add_row("messages tracked", f"{tracked:,}", _bar(tracked, self.story.tracked, "blue"))
        attributed = self._states["attributed"]
        grid.add_row("attributed", f"[green]{attributed:,}[/green]", _bar(attributed, received, "green"))
        grid.add_row("parked", f"[yellow]{self._states['parked']:,}[/yellow]", Text(self._sparkline(), style="yellow"))
        grid.add_row("quarantined", f"[red]{self._states['quarantined']:,}[/red]", "")
        return Group(Text(self._chapter(), style="bold"), grid)

    def _sparkline(self) -> str:
        """Draw how many were parked from the beginning until now, each character a stretch's highest count."""
        stretch = -(-len(self._parked) // _SPARKS) or 1
        peaks = [max(self._parked[start : start + stretch]) for start in range(0, len(self._parked), stretch)]
        highest = max(peaks, default=0) or 1
        return "".join(_BARS[round(peak / highest * (len(_BARS) - 1))] for peak in peaks)


def _bar(completed: int, total: int, colour: str) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=completed, width=_SPARKS, complete_style=colour)
