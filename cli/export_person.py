"""`attribution export-person`: everything that is stored of one person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cli.failures import Failed
from cli.person import count_waiting, person_options, read_person, searching, warn_of_unreadable


@click.command()
@person_options
@click.option(
    "--output", type=click.Path(path_type=Path), help="Into this file, which only you can read; else printed."
)
def export_person(subscriber: int | None, recipient: str | None, output: Path | None) -> None:
    """Write everything that is stored of one person as JSON.

    The rows of every table, and what the archive and quarantine hold of him, as they are stored: it is what
    `attribution erase` would erase. listmonk exports its own subscriber itself.
    """
    from cli.progress import progress
    from tasks.privacy.exporting import export
    from tasks.privacy.searching import Found

    person = read_person(subscriber, recipient)
    with searching("attribution export-person", person) as (search, settings):
        found = Found()
        with progress("looking", search.count_bodies()) as follow:
            follow(search.run(found))
        document = export(search, found) | {"waiting_on_the_streams": count_waiting(search, settings)}
    warn_of_unreadable(found.unreadable)
    _write(document, output)


def _write(document: dict[str, Any], output: Path | None) -> None:
    from cli.formats import encode_document, write_document

    if output is None:
        write_document(document)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(encode_document(document) + "\n")
    except FileExistsError:
        raise Failed(f"{output} is there already. Name another file.") from None
    except OSError as error:
        raise Failed(f"{output} could not be written: {error.strerror}.") from None
    click.echo(f"Written to {output}.")
