"""Running the checks: subjects beside each other, each check by itself, all of it within a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cli.doctor.findings import Check, Finding, Level, Missing, Subject, failure, ok
from cli.doctor.installation import Installation

#: Longest that all checks together may take. Each server has a few seconds to answer; this is for the one that drips.
LONGEST: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class Result:
    """One finding of one check, as it is told. For one that was skipped ``sentence`` is the reason."""

    subject: Subject
    check: Check
    level: Level
    sentence: str
    fix: str


def examine(
    installation: Installation,
    subjects: Sequence[Subject],
    wanted: Collection[str],
    *,
    longest: timedelta = LONGEST,
) -> list[Result]:
    """Run the ``wanted`` checks, named, and return at least one result for each, in the order of the checks.

    Nothing that a check meets ends the others: an exception is a finding, and so is time that runs out. A check that
    hangs is left behind, in a thread that does not keep the process from ending.
    """
    deadline = time.monotonic() + longest.total_seconds()
    rounds = [_Round(installation, subject, wanted) for subject in subjects]
    for each in rounds:
        each.start()
    for each in rounds:
        each.join(max(0.0, deadline - time.monotonic()))
    return [result for each in rounds for result in each.results(longest)]


class _Round(threading.Thread):
    """The checks of one subject, one after the other."""

    def __init__(self, installation: Installation, subject: Subject, wanted: Collection[str]) -> None:
        super().__init__(name=f"doctor {subject.name}", daemon=True)
        self._installation = installation
        self._subject = subject
        self._checks = [check for check in subject.checks if check.name in wanted]
        self._found: dict[str, list[Finding]] = {}

    def run(self) -> None:
        for check in self._checks:
            self._found[check.name] = _found(check, self._installation)

    def results(self, longest: timedelta) -> Iterator[Result]:
        for check in self._checks:
            for finding in self._found.get(check.name) or [_unfinished(longest)]:
                yield Result(self._subject, check, finding.level, finding.sentence, finding.fix)


def _found(check: Check, installation: Installation) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.look(installation))
    except Missing as missing:
        return found or [Finding(Level.SKIPPED, missing.because)]
    except Exception as error:  # whatever it is: it must not end the other checks
        # Not its text, which may hold anything.
        return [
            *found,
            failure(
                f"This could not be looked at: {type(error).__name__}.",
                "Look at the other findings first: it may be one of them that is in the way.",
            ),
        ]
    return found or [ok(check.meaning)]


def _unfinished(longest: timedelta) -> Finding:
    return failure(
        f"This was not answered within {longest.total_seconds():g} seconds.",
        "Something takes connections and does not answer. Look at the servers, and at the network between.",
    )
