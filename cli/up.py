"""`attribution up`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from stack.processes import Program
    from stack.services import Services

_COLOURS = {"receiver": "cyan", "worker": "green", "beat": "yellow", "flower": "magenta", "migrate": "blue"}

#: What tells callers apart. If none is set, only this machine may call.
_CALLER_SETTINGS = ("ATTRIBUTION_EVENT_SECRETS", "ATTRIBUTION_ENTRA_TENANT_ID")


@click.command()
@click.option(
    "--port",
    default=8080,
    show_default=True,
    envvar="ATTRIBUTION_PORT",
    type=click.IntRange(1, 65535),
    help="Port of the receiver.",
)
@click.option("--flower-port", default=5555, show_default=True, type=click.IntRange(1, 65535), help="Port of Flower.")
@click.option(
    "--metrics-port",
    default=9464,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of the worker's metrics.",
)
@click.option(
    "--state-dir",
    default=Path(".state/up"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps the servers' data, ports and passwords.",
)
def up(port: int, flower_port: int, metrics_port: int, state_dir: Path) -> None:
    """Run everything on this machine, servers included.

    Starts PostgreSQL and Redis, unless ATTRIBUTION_DATABASE_URL and ATTRIBUTION_REDIS_URL name yours; brings the
    database to the newest schema; then runs receiver, worker, beat and Flower until Ctrl-C. What they store is kept.
    """
    from db.migrate import upgrade
    from stack.processes import Supervisor
    from stack.services import services

    console = Console(soft_wrap=True, highlight=False)

    def show(name: str, line: str) -> None:
        text = Text.assemble((f"{name:>8} │ ", _COLOURS.get(name, "white")))
        console.print(text + Text.from_ansi(line))

    _refuse_taken(port, "--port")
    _refuse_taken(flower_port, "--flower-port")
    _refuse_taken(metrics_port, "--metrics-port")
    flower_auth = f"attribution:{secrets.token_hex(8)}"
    with services(state_dir) as servers:
        upgrade(servers.database_url, report=lambda line: show("migrate", line))
        programs = _programs(servers, port, flower_port, metrics_port, flower_auth)
        try:
            Supervisor(state_dir, programs, show).run(
                on_ready=lambda: _print_addresses(console, servers, port, flower_port, metrics_port, flower_auth)
            )
        except KeyboardInterrupt:
            console.print("Stopped. The data stay for the next time.", style="dim")


def _programs(servers: Services, port: int, flower_port: int, metrics_port: int, flower_auth: str) -> list[Program]:
    from stack.processes import Program

    environment = {
        "ATTRIBUTION_LOG_FORMAT": "console",
        "ATTRIBUTION_HOST": "127.0.0.1",
        **os.environ,
        **servers.environment(),
        "ATTRIBUTION_PORT": str(port),
        "ATTRIBUTION_METRICS_PORT": str(metrics_port),
        "ATTRIBUTION_FLOWER_AUTH": flower_auth,
        "PYTHONUNBUFFERED": "1",
        # Who runs this as root, in a container or in CI, knows it.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    if not any(os.environ.get(name) for name in _CALLER_SETTINGS):
        environment["ATTRIBUTION_INSECURE"] = "true"

    def program(name: str, *options: str, port: int | None = None, grace_seconds: float = 15) -> Program:
        command = [sys.executable, "-m", "cli", name, *options]
        return Program(name, command, environment, port=port, grace_seconds=grace_seconds)

    return [
        program("receiver", port=port),
        # Long enough for the batch at hand to commit and be acknowledged.
        program("worker", grace_seconds=60),
        program("beat"),
        program("flower", f"--port={flower_port}", port=flower_port),
    ]


def _refuse_taken(port: int, option: str) -> None:
    from stack.state import port_is_free

    if not port_is_free(port):
        raise click.UsageError(f"Port {port} is taken by another program. Choose another one with {option}.")


def _print_addresses(
    console: Console, servers: Services, port: int, flower_port: int, metrics_port: int, flower_auth: str
) -> None:
    addresses = {
        "Events": f"http://127.0.0.1:{port}/eventgrid",
        "Messages": f"http://127.0.0.1:{port}/messages",
        "Metrics": f"http://127.0.0.1:{port}/metrics",
        "Worker's": f"http://127.0.0.1:{metrics_port}/metrics",
        "Flower": f"http://{flower_auth}@127.0.0.1:{flower_port}/",
        # The servers' passwords are good on this machine only. The user's own are not ours to show.
        "PostgreSQL": servers.database_url if servers.postgres else "yours, of ATTRIBUTION_DATABASE_URL",
        "Redis": servers.redis_url if servers.redis else "yours, of ATTRIBUTION_REDIS_URL",
    }
    lines = [Text.assemble("  ", (f"{name:<12}", "bold"), (address, "cyan")) for name, address in addresses.items()]
    console.print("", *lines, "  Ctrl-C stops everything.", "", sep="\n")
