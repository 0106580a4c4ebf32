"""`attribution import`: events that never came over the stream, from files or from the replaced system's log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tasks.imports.importing import Imported
    from tasks.imports.source import Source
    from worker.settings import WorkerSettings


@click.command("import")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE|FOLDER]...")
@click.option("--webhook-logs", is_flag=True, help="Read the replaced system's table webhook_logs.")
@click.option("--again", is_flag=True, help="Read everything from its beginning, even what was imported before.")
@click.option(
    "--older", is_flag=True, help="Take events past ATTRIBUTION_EVENT_RETENTION, too: none was ever recorded."
)
@click.option("--dry-run", is_flag=True, help="Do the same work, show its numbers, and keep nothing of it.")
def import_(paths: tuple[Path, ...], webhook_logs: bool, again: bool, older: bool, dry_run: bool) -> None:
    """Bring in events from dead letters, files, or webhook_logs.

    A file is a dead-letter blob of Event Grid, or JSON or NDJSON of events in either schema, compressed by gzip or not.
    A folder is searched for such files (.json, .ndjson, .jsonl, with or without .gz). Whatever is there already stays
    as it is, so an import may be run as often as you like, and stopped at any time.
    """
    from cli.operating import operating
    from tasks.imports.importing import Imported

    if not paths and not webhook_logs:
        raise click.UsageError("Name files or folders, or give --webhook-logs.")
    imported = Imported()
    with operating("attribution import") as (engine, settings):
        sources, total, before = _sources(engine, paths, imported, webhook_logs=webhook_logs, again=again)
        if sources:
            _import(engine, settings, sources, total, imported, again=again, older=older, dry_run=dry_run)
    _show(imported, before, dry_run=dry_run)
    for name, why in imported.unreadable:
        click.echo(f"{name} could not be read: {why}.", err=True)
    if imported.unreadable:
        raise click.exceptions.Exit(1)


def _sources(
    engine: Engine, paths: tuple[Path, ...], imported: Imported, *, webhook_logs: bool, again: bool
) -> tuple[dict[str, Source], int, int]:
    """Return what there is to read by name, its size on the progress bar, and how many files were imported before."""
    from db.runs import finished_among, position_of
    from tasks.imports.event_grid_files import EventFile, find_files
    from tasks.imports.source import SourceUnreadable
    from tasks.imports.webhook_logs import WebhookLogs

    found, closed = find_files(paths)
    imported.unreadable += [(str(path), why) for path, why in closed]
    if paths and not found and not closed:
        raise click.UsageError("There is no file of events there: a folder is searched for .json, .ndjson and .jsonl.")
    files: dict[str, EventFile] = {}
    copies = 0
    for path in found:
        try:
            file = EventFile.at(path)
        except SourceUnreadable as error:
            imported.unreadable.append((str(path), str(error)))
            continue
        copies += file.key in files
        files.setdefault(file.key, file)
    with engine.begin() as conn:
        before = set() if again else finished_among(conn, list(files))
    sources: dict[str, Source] = {str(file.path): file for file in files.values() if file.key not in before}
    total = sum(file.bytes for file in files.values() if file.key not in before)
    if webhook_logs:
        logs = WebhookLogs(engine)
        newest = logs.newest()
        with engine.begin() as conn:
            unread = newest - (0 if again else position_of(conn, logs.key).position)
        if unread > 0:
            sources[logs.key] = logs
            total += newest
    return sources, total, len(before) + copies


def _import(
    engine: Engine,
    settings: WorkerSettings,
    sources: dict[str, Source],
    total: int,
    imported: Imported,
    *,
    again: bool,
    older: bool,
    dry_run: bool,
) -> None:
    from cli.progress import progress
    from tasks.imports.importing import import_sources
    from tasks.runs import begin_run, conclude

    parameters = {"sources": len(sources), "again": again, "older": older}
    with (
        begin_run(engine, settings, "import", parameters, dry_run=dry_run, older=older) as run,
        progress("rehearsing" if dry_run else "importing", total) as follow,
    ):
        try:
            follow(import_sources(run, sources, imported, again=again))
        except KeyboardInterrupt:
            stays = "It was a dry run: nothing was changed." if dry_run else "What was imported stays."
            click.echo(f"\nStopped. {stays} The same command goes on from here.", err=True)
            raise click.exceptions.Exit(130) from None
        conclude(run, imported.summary())


def _show(imported: Imported, before: int, *, dry_run: bool) -> None:
    from cli.outcome import events, show

    lines = [("sources read", imported.sources, ""), ("files imported before", before, "--again reads them once more")]
    lines += events(imported.drained, known=imported.known)
    lines += [
        ("adopted", imported.adopted, "rows of the replaced system that are these events"),
        ("stored twice", imported.stored_twice, "rows of the replaced system, left as they are"),
        ("too old", imported.drained.too_old, "past ATTRIBUTION_EVENT_RETENTION; if never recorded: --older --again"),
        ("skipped", imported.skipped + imported.drained.ignored, "none of the events that we follow"),
    ]
    show(line for line in lines if line[1] or "new" in line[0])
    if dry_run:
        click.echo("A dry run: nothing was changed.")
