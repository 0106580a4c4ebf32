"""Runs a program of the system with changes made inside its process first, which production code knows nothing of.

``python -m proof.launch [--sabotage NAME] [--poison] [--] MODULE [ARGUMENT]…`` runs MODULE as ``python -m MODULE``
would. What that starts of ours in its turn (Celery, drain processes) is started through here, too, by the same options.
"""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from proof.patching import patch

#: Whoever parses a body that holds this dies of it, as of a fault in a library.
POISON: Final = b'"poison-'

#: Modules whose processes parse bodies or start those that do. The others need not import all that.
_DRAINING: Final = frozenset({"celery", "tasks.drainer"})


def main() -> None:
    """Make the changes, and become the module named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m proof.launch", allow_abbrev=False)
    parser.add_argument("--sabotage", metavar="NAME", help="break the program in this way: see proof/sabotage")
    parser.add_argument("--poison", action="store_true", help="have the drain die of certain bodies")
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    options = [*(["--sabotage", given.sabotage] if given.sabotage else []), *(["--poison"] if given.poison else [])]
    _pass_on(options, given.module)
    if given.poison and given.module in _DRAINING:
        die_of_poison()
    if given.sabotage:
        # Imported for who wants it only: it imports most of the system, which takes a while at every start.
        sabotages = importlib.import_module("proof.sabotage").SABOTAGES
        if given.sabotage not in sabotages:
            parser.error(f"there is no sabotage {given.sabotage!r}; there are {', '.join(sabotages)}")
        sabotages[given.sabotage].apply()
    sys.argv = [given.module, *given.arguments]
    runpy.run_module(given.module, run_name="__main__", alter_sys=True)


def through_launch(command: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the ``python -m MODULE …`` of ``command`` so that it runs through here; any other command as it is."""
    python, *rest = command
    if python != sys.executable or rest[:1] != ["-m"]:
        return list(command)
    return [python, "-m", "proof.launch", *options, "--", *rest[1:]]


def die_of_poison() -> None:
    """Have the process that parses a poisoned body die as of a segmentation fault: at once, and past all handlers."""
    events = importlib.import_module("tasks.events")

    def poisoned(parse: Callable[[Any, Sequence[Any]], Any]) -> Callable[[Any, Sequence[Any]], Any]:
        def parse_or_die(pipeline: Any, bodies: Sequence[Any]) -> Any:
            if any(POISON in body.body for body in bodies):
                os.kill(os.getpid(), signal.SIGKILL)
            return parse(pipeline, bodies)

        return parse_or_die

    patch(events.EventPipeline, "parse", poisoned)


def _pass_on(options: Sequence[str], module: str) -> None:
    """Have what this process becomes, or starts, go through here."""

    def becoming(execve: Callable[..., None]) -> Callable[..., None]:
        def execve_through_launch(path: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
            execve(path, through_launch(command, options), environment)

        return execve_through_launch

    patch(os, "execve", becoming)
    if module in _DRAINING:
        keeper = importlib.import_module("worker.drain_keeper")
        patch(keeper, "COMMAND", lambda command: tuple(through_launch(command, options)))


if __name__ == "__main__":
    main()
