"""`attribution demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--seed", default=42, show_default=True, help="Another seed tells the story with other readers.")
@click.option(
    "--state-dir",
    default=Path(".state/demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps the servers' data, everybody's logs, and the ledger of what really happened.",
)
def demo(seed: int, state_dir: Path) -> None:
    """Play a small campaign and check every single event of it.

    Starts PostgreSQL, Redis, receiver, worker and beat; plays listmonk, a mailer and Event Grid to them; repairs what
    the replaced system has credited wrongly; compares the database with what was sent, event by event and row by row;
    and stops everything. Ends with 1 if a single one is off. If ATTRIBUTION_DATABASE_URL and ATTRIBUTION_REDIS_URL name
    servers of yours, those are used, and left as they were.
    """
    from rich.console import Console

    from cli.demo_figures import further_line
    from cli.demo_play import play
    from cli.demo_world import Unsound, World, await_drain, empty_database, empty_redis
    from db.migrate import upgrade
    from simulator import oracle, past
    from stack.processes import Supervisor
    from stack.services import services
    from stack.state import StateFolder

    class TheEnd(Exception):
        """The story is told, and the processes may end."""

    console = Console(highlight=False)
    console.print("Starting PostgreSQL, Redis, receiver, worker and beat …", style="dim")
    with services(state_dir) as servers, empty_database(servers) as database_url, empty_redis(servers) as redis_url:
        with oracle.connect(database_url) as connection:
            accident = past.install(connection)
        upgrade(database_url)
        world = World(database_url, redis_url, port=StateFolder(state_dir).endpoint("receiver").port)
        ledger, log = state_dir / "truth.jsonl", state_dir / "processes.log"
        sound = False

        def tell_story() -> None:
            nonlocal sound
            await_drain(redis_url)
            sound = play(world, accident, seed=seed, ledger=ledger, console=console)
            raise TheEnd

        with log.open("w") as lines:

            def note(name: str, line: str) -> None:
                lines.write(f"{name:>8} │ {line}\n")

            try:
                Supervisor(state_dir, world.programs(), note).run(on_ready=tell_story)
            except TheEnd:
                console.print("Everything is stopped again.", style="dim")
        if not sound:
            raise Unsound(f"Not everything is where it belongs. See {ledger} and {log}.")
        console.print(further_line())
