"""`attribution worker`."""

from __future__ import annotations

import os

import click

from cli.celery_command import become_celery
from worker import queues as ours


@click.command()
@click.option("--concurrency", default=2, show_default=True, type=click.IntRange(1), help="Tasks it runs at once.")
@click.option("--queues", default=",".join(ours.ALL), show_default=True, help="Queues it serves, separated by commas.")
@click.option("--hostname", default="worker@%h", show_default=True, help="Its name; %h is this machine's.")
def worker(concurrency: int, queues: str, hostname: str) -> None:
    """Run a Celery worker.

    It drains the streams, records trackings and retries what is parked. Run as many as you need.
    """
    from worker.telemetry.metrics_server import make_folder
    from worker.telemetry.places import FOLDER

    folder = make_folder()
    if folder is None:
        os.environ.pop(FOLDER, None)
    become_celery(
        "worker",
        "-Q",
        queues,
        f"--concurrency={concurrency}",
        f"--hostname={hostname}",
        environment={FOLDER: folder} if folder else None,
    )
