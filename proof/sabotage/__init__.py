"""Builds that are broken on purpose, each in one way that this system was built to avoid.

A proof that finds nothing says something only if it finds these. Each is applied inside the processes of the system, by
`proof.launch`; nothing of it stands in production code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from proof.sabotage import acknowledge_first, guess_by_recipient, no_recheck, no_unique_key, refuse_rotated_secret


class Sabotage(Protocol):
    """A module of this folder."""

    #: What is broken, for a reader of the proof's report.
    SENTENCE: str
    #: Where the proof is to find it: among what is ``lost``, ``twice`` or ``wrong``.
    SHOWS_AS: str

    def apply(self) -> None:
        """Break this process, before the program in it begins.

        Raises:
            CannotPatch: what it breaks is not there any more.
        """


SABOTAGES: Final[Mapping[str, Sabotage]] = {
    "acknowledge-first": acknowledge_first,
    "no-unique-key": no_unique_key,
    "guess-by-recipient": guess_by_recipient,
    "refuse-rotated-secret": refuse_rotated_secret,
    "no-recheck": no_recheck,
}


def prepare(name: str, database_url: str) -> None:
    """Break the migrated database as far as the sabotage ``name`` needs it broken."""
    if SABOTAGES[name] is no_unique_key:
        no_unique_key.prepare(database_url)
