"""`attribution migrate`."""

from __future__ import annotations

import click


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if there is something to migrate.")
def migrate(check: bool) -> None:
    """Bring the database to this release's schema.

    Works on the database of ATTRIBUTION_DATABASE_URL: an empty one, one of an earlier release, or listmonk's. Others
    may go on using it meanwhile. It may be interrupted, and run again.
    """
    from db.migrate import require_current, upgrade
    from worker.settings import WorkerSettings

    database_url = WorkerSettings.read().database_url.get_secret_value()
    if check:
        require_current(database_url)
    else:
        upgrade(database_url, report=click.echo)
    click.echo("The database is at this release's schema.")
