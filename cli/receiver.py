"""`attribution receiver`."""

from __future__ import annotations

import os

import click


@click.command()
@click.option("--insecure", is_flag=True, help="Let anyone on this machine post. For loopback addresses only.")
def receiver(insecure: bool) -> None:
    """Run the receiver.

    It takes events from Event Grid and messages from mailers, and puts them on the streams. Settings: docs/settings.md.
    """
    from worker.receiver import run
    from worker.settings import ReceiverSettings
    from worker.telemetry.logs import configure_logs

    if insecure:
        os.environ["ATTRIBUTION_INSECURE"] = "true"
    settings = ReceiverSettings.read()
    configure_logs(settings.log_format, settings.log_level)
    run(settings)
