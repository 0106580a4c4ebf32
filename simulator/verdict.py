"""What the oracle has found: counts, and each single thing that is not as it must be. `simulator.report` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class Fault(NamedTuple):
    """One thing that did not end as it must: which event or row, and what is the matter with it."""

    subject: str
    sentence: str

    @classmethod
    def of_event(cls, event_id: str, sentence: str) -> Self:
        """Return a fault of an event."""
        return cls(f"event {event_id}", sentence)

    @classmethod
    def of_row(cls, table: str, row_id: int, sentence: str) -> Self:
        """Return a fault of a row in a table of listmonk's or ours."""
        return cls(f"row {row_id} of {table}", sentence)


@dataclass
class Faults:
    """Faults by kind, as they are found."""

    #: Acknowledged or counted by right, but nowhere.
    lost: list[Fault] = field(default_factory=list)
    #: In more than one place.
    twice: list[Fault] = field(default_factory=list)
    #: Credited to the wrong campaign, subscriber or kind; or credited though it must not be; or not, though it must.
    wrong: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of every event of the ledger, and of every act that listmonk counted itself."""

    sent: int
    acknowledged: int
    dropped: int
    attributed: int
    parked: int
    expired: int
    quarantined: int
    ignored: int
    lost: tuple[Fault, ...]
    twice: tuple[Fault, ...]
    wrong: tuple[Fault, ...]
    #: Rows of the ledger's campaigns in listmonk's tables, by what they count; empty where there is no listmonk.
    in_listmonk: Mapping[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether not a single thing is off."""
        return not (self.lost or self.twice or self.wrong)
