"""`attribution receiver`."""

from __future__ import annotations

import click


@click.command()
def receiver() -> None:
    """Run the receiver.

    It takes events from Event Grid and messages from mailers, and puts them on the streams. Settings: docs/settings.md.
    """
    from worker.receiver import main

    main()
