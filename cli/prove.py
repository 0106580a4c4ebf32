"""`attribution prove`."""

from __future__ import annotations

import secrets
from pathlib import Path

import click


@click.command()
@click.option("--events", default=100_000, show_default=True, type=click.IntRange(1), help="Events, about.")
@click.option("--faults", default=110, show_default=True, type=click.IntRange(0), help="Faults, drawn from all kinds.")
@click.option("--short", is_flag=True, help="Every kind of fault once, with 10,000 events: some minutes.")
@click.option("--soak", metavar="HOURS", type=click.FloatRange(min=0, min_open=True), help="Round after round.")
@click.option("--seed", type=click.IntRange(0), help="The same seed strikes the same way. Drawn if not given.")
@click.option("--replay", type=click.Path(path_type=Path, dir_okay=False), help="Play the run of a history again.")
@click.option("--patience", default=120.0, show_default=True, help="Seconds to get well in, and to come to rest in.")
@click.option("--only", "kinds", multiple=True, metavar="KIND", help="Only faults of this kind; may be repeated.")
@click.option("--sabotage", metavar="BREAK", help="Prove a build that is broken on purpose: the proof must fail.")
@click.option("--list", "listed", is_flag=True, help="List the kinds of faults and the ways to break a build.")
@click.option("--target", metavar="URL", help="Prove your own installation, without faults: where Event Grid posts.")
@click.option("--database", metavar="URL", help="Its database, for the comparison.")
@click.option("--secret", envvar="PROVE_SECRET", help="Its secret of events. [$PROVE_SECRET]")
@click.option(
    "--message-secret",
    envvar="PROVE_MESSAGE_SECRET",
    help="Its secret of messages. [$PROVE_MESSAGE_SECRET]",
)
@click.option("--campaign", type=click.IntRange(1), help="A campaign made for this, which listmonk's database needs.")
@click.option(
    "--state-dir",
    default=Path(".state/prove"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of servers, logs, and the ledger of what really happened. Histories are in the one beside it.",
)
def prove(
    events: int,
    faults: int,
    short: bool,
    soak: float | None,
    seed: int | None,
    replay: Path | None,
    patience: float,
    kinds: tuple[str, ...],
    sabotage: str | None,
    listed: bool,
    target: str | None,
    database: str | None,
    secret: str | None,
    message_secret: str | None,
    campaign: int | None,
    state_dir: Path,
) -> None:
    """Strike the system with faults, and check every single event.

    Starts PostgreSQL, Redis, receiver, workers and beat of its own, plays ACS, Event Grid, listmonk and a mailer to
    them, and while it does kills, freezes, cuts off and starves each part, by a schedule drawn from the seed. Then it
    compares the database, and listmonk's tables, with what really happened, event by event. Ends with
    1 if a single one is lost, counted twice or credited wrongly.
    """
    from rich.console import Console

    from cli.prove_rounds import list_all, prove_rounds, prove_target
    from proof.history import Options, read_options
    from proof.target import Target

    console = Console(highlight=False)
    if listed:
        list_all(console)
        return
    if (target is None) != (database is None):
        raise click.UsageError("--target and --database go together: one is posted to, the other is compared.")
    if target and (sabotage or kinds or soak or short or replay):
        raise click.UsageError("--target strikes nothing: it takes --events, --seed, --patience and --campaign only.")
    if replay:
        options = read_options(replay)
    else:
        options = Options(
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            events=min(events, 10_000) if short else events,
            faults=None if short else faults,
            kinds=kinds,
            sabotage=sabotage,
            patience=patience,
        )
    if target and database:
        prove_target(options, Target(target, database, secret, message_secret, campaign), state_dir, console)
    else:
        prove_rounds(options, state_dir, console, soak=(soak or 0.0) * 3600)
