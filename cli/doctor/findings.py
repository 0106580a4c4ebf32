"""What checks are, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cli.doctor.installation import Installation


class Level(StrEnum):
    """How bad it is. The exit code is that of the worst."""

    #: In order.
    OK = "ok"
    #: Worth knowing; nothing is wrong.
    HINT = "hint"
    #: Works now, and will cost something some day.
    WARNING = "warning"
    #: Does not work, or loses data.
    FAILURE = "failure"
    #: Not looked at, because something that it needs is not there.
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """A sentence, and one that says what to do. Neither holds a secret, an address, a body or a host."""

    level: Level
    sentence: str
    fix: str = ""


def ok(sentence: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, sentence)


def hint(sentence: str, fix: str = "") -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(Level.HINT, sentence, fix)


def warning(sentence: str, fix: str) -> Finding:
    """Return a finding that will cost something some day."""
    return Finding(Level.WARNING, sentence, fix)


def failure(sentence: str, fix: str) -> Finding:
    """Return a finding that something does not work."""
    return Finding(Level.FAILURE, sentence, fix)


class Missing(Exception):
    """Something that checks need is not there, such as a server that is away.

    The check whose business it is yields ``finding``; every other one that needs it is skipped ``because`` of it.
    """

    def __init__(self, because: str, finding: Finding) -> None:
        super().__init__(because)
        self.because = because
        self.finding = finding


Look = Callable[["Installation"], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing that is looked at. ``name`` is stable, for programs; ``meaning`` says what is in order if it is."""

    name: str
    meaning: str
    look: Look


class Subject:
    """Checks that belong together, in the order in which they are told of."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.checks: list[Check] = []

    def check(self, name: str, meaning: str) -> Callable[[Look], Look]:
        """Return a decorator that makes a function a check of this subject; ``name`` goes behind the subject's.

        A function that yields nothing has found all in order.
        """

        def register(look: Look) -> Look:
            self.checks.append(Check(f"{self.name}-{name}", meaning, look))
            return look

        return register
