"""`attribution beat`."""

from __future__ import annotations

import click

from cli.celery_command import become_celery


@click.command()
def beat() -> None:
    """Run the beat, one per installation.

    It is the second trigger of drains and the first of sweeps. A second one does no harm, and while none runs, the
    drain goes on.
    """
    become_celery("beat", "--enable-remote-control", "--hostname=beat@%h")
