"""The command: what is asked, what is shown, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence

import click


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="Public address that Event Grid posts to, such as https://events.example.com/eventgrid: try it as Event Grid"
    " would. A secret of ATTRIBUTION_EVENT_SECRETS is added to it, unless it has one.",
)
@click.option("--only", metavar="CHECK", multiple=True, help="Only this check, or this subject; may be repeated.")
@click.option("--ignore", metavar="CHECK", multiple=True, help="Leave this check, or subject, out; may be repeated.")
@click.option("--strict", is_flag=True, help="End with 1 for warnings, too.")
@click.option("--all", "everything", is_flag=True, help="Show what is in order, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def doctor(
    url: str | None, only: tuple[str, ...], ignore: tuple[str, ...], strict: bool, everything: bool, as_json: bool
) -> None:
    """Look at the installation, and say what to do.

    Checks settings, secrets, PostgreSQL, Redis, streams, workers, beat, and what comes in. Run it with the environment
    of a receiver or of a worker: what it could not look at from there it says. Ends with 1 if something does not work.
    docs/doctor.md lists the checks.
    """
    from cli.doctor.catalogue import SUBJECTS
    from cli.doctor.examination import examine
    from cli.doctor.findings import Level
    from cli.doctor.installation import Installation
    from cli.doctor.view import show, write_json

    wanted = _named(only, "--only") or {check.name for subject in SUBJECTS for check in subject.checks}
    ignored = _named(ignore, "--ignore") & wanted
    with Installation(url=url) as installation:
        results = examine(installation, SUBJECTS, wanted - ignored)
    levels = {result.level for result in results}
    healthy = Level.FAILURE not in levels and not (strict and Level.WARNING in levels)
    if as_json:
        write_json(results, healthy=healthy, ignored=ignored)
    else:
        show(results, everything=everything, ignored=ignored)
    if not healthy:
        raise click.exceptions.Exit(1)


def _named(names: Sequence[str], option: str) -> set[str]:
    """Return the checks that an option names, by themselves or by their subject."""
    from cli.doctor.catalogue import SUBJECTS

    checks: set[str] = set()
    for name in names:
        found = {check.name for subject in SUBJECTS for check in subject.checks if name in (check.name, subject.name)}
        if not found:
            raise click.BadParameter(f"there is no check {name!r}; docs/doctor.md lists them.", param_hint=option)
        checks |= found
    return checks
