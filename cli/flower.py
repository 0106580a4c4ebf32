"""`attribution flower`."""

from __future__ import annotations

from pathlib import Path

import click

from cli.celery_command import become_celery
from worker.secret_files import read_secret

#: ``user:password`` for Flower. Not one of worker/settings/: nothing of ours reads it.
AUTH = "ATTRIBUTION_FLOWER_AUTH"
_CONFIG = Path(__file__).parents[1] / "worker" / "flowerconfig.py"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address it listens on.")
@click.option("--port", default=5555, show_default=True, type=click.IntRange(1, 65535), help="Port it listens on.")
@click.option("--insecure", is_flag=True, help="Ask for no password, on a loopback address.")
def flower(host: str, port: int, insecure: bool) -> None:
    """Run Flower, the view of the workers.

    Set ATTRIBUTION_FLOWER_AUTH to user:password: whoever gets in can stop workers. Without a password it starts only on
    a loopback address and only with --insecure, open to anyone on this machine, and with its API switched off.
    """
    from worker.settings.reading import is_loopback

    auth = read_secret(AUTH)
    user, _, password = auth.partition(":")
    if auth and (not (user and password) or "," in auth):
        raise click.UsageError(f"{AUTH} must be user:password, without a comma.")
    if not auth and not (insecure and is_loopback(host)):
        raise click.UsageError(
            f"Flower can stop workers, so it needs a password: set {AUTH} to user:password. On a loopback address"
            " --insecure starts it without."
        )
    # In the environment, not on the command line, which every user of the machine can read.
    environment = {"FLOWER_BASIC_AUTH": auth} if auth else {}
    become_celery(
        "flower",
        f"--conf={_CONFIG}",
        f"--address={host}",
        f"--port={port}",
        "--logging=warning",
        environment=environment,
    )
