"""The command `attribution`: a table of subcommands, each in the module of its name and imported when it is used."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Final

import click

from cli.failures import explain

#: Each subcommand with its line in ``--help``. The command ``up`` is the function ``up`` in ``cli/up.py``. The lines
#: are here too so that ``--help`` needs none of the modules; a test keeps them the same.
COMMANDS: Final = {
    "up": "Run everything on this machine, servers included.",
    "demo": "Play a small campaign and check every single event of it.",
    "bench": "Measure throughput and latency against their goals.",
    "migrate": "Bring the database to this release's schema.",
    "parked": "Show what waits for its message, and act on it.",
    "quarantine": "Show what could not be read, and why.",
    "receiver": "Run the receiver.",
    "worker": "Run a Celery worker.",
    "beat": "Run the beat, one per installation.",
    "flower": "Run Flower, the view of the workers.",
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"cli.{name}"), name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except Exception as error:
            if (failed := explain(error)) is None:
                raise
            raise failed from error


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        # From the file that states it: in the image the project is copied, not installed, and has no other.
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
        click.echo(f"{project['name']} {project['version']}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Credit each open, click and delivery report to the campaign that sent it."""
