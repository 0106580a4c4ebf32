"""The command `attribution`: a table of subcommands, each in the module of its name and imported when it is used."""

from __future__ import annotations

import importlib
import keyword
from typing import Final

import click

from cli.failures import explain

#: Each subcommand with its line in ``--help``. The command ``up`` is the function ``up`` in ``cli/up.py``. The lines
#: are here too so that ``--help`` needs none of the modules; a test keeps them the same.
COMMANDS: Final = {
    "up": "Run everything on this machine, servers included.",
    "demo": "Play a small campaign and check every single event of it.",
    "bench": "Measure throughput and latency against their goals.",
    "prove": "Strike the system with faults, and check every single event.",
    "load": "Load the system to its limit and beyond, and watch its memory.",
    "migrate": "Bring the database to this release's schema.",
    "doctor": "Look at the installation, and say what to do.",
    "stats": "Show the results of each campaign: bounces, opens, clicks.",
    "events": "Write each event of a campaign, a person or a message.",
    "accuracy": "Show how many clicks two independent keys prove.",
    "why": "Tell how an event, a message or a number came about.",
    "incidents": "Show keys that disagree, replaced Message-IDs, drift, alarms.",
    "backfill": "Learn from the replaced system's log, then repair.",
    "repair": "Correct what was credited to the wrong campaign or reader.",
    "parked": "Show what waits for its message, and act on it.",
    "quarantine": "Show what could not be read, and why.",
    "replay": "Run archived events and trackings through the pipeline again.",
    "import": "Bring in events from dead letters, files, or webhook_logs.",
    "erase": "Erase everything that is stored of one person.",
    "export-person": "Write everything that is stored of one person as JSON.",
    "webhook": "Show what the webhook has not been told yet, and act on it.",
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
        # A word that means something to Python has a line behind it: `import` is `import_` in cli/import_.py.
        python_name = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"cli.{python_name}"), python_name)
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
        from worker.version import version

        click.echo(f"engagement-attribution {version()}")
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
