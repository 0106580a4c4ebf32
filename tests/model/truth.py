"""What is true of everything that was said so far: the model, without tables, transactions, batches or time.

An id is ``i3`` or ``a3``: the Message-ID of message 3, or the id that Azure gave it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple


class Owner(NamedTuple):
    """Whom a message belongs to."""

    campaign: int
    subscriber: int


@dataclass
class Message:
    """A message that somebody has tracked, and the ids by which it is known."""

    ids: frozenset[str]
    owner: Owner


@dataclass
class Truth:
    """The messages that are known; the ids that each event carries; and what was credited before our time."""

    messages: list[Message] = field(default_factory=list)
    events: dict[str, frozenset[str]] = field(default_factory=dict)
    credited_before: dict[str, Owner] = field(default_factory=dict)
    adopted: set[str] = field(default_factory=set)

    def track(self, ids: frozenset[str], owner: Owner) -> None:
        """The first to name an id keeps it. Whoever names it for another owner is not believed in anything."""
        if self._with(ids):
            self._complete(ids, owner)
        else:
            self.messages.append(Message(ids, owner))
        self._learn()

    def receive(self, event: str, ids: frozenset[str]) -> None:
        """An event is what it was when it came first."""
        self.events.setdefault(event, ids)
        self._learn()

    def adopt(self, old: str, event: str, ids: frozenset[str]) -> bool:
        """What the replaced system stored, without knowing which event it was, is that event."""
        if event in self.events or not _azure(self.events.get(old, frozenset())) & ids:
            return False
        self.events[event] = frozenset({id_[0]: id_ for id_ in (*ids, *self.events.pop(old))}.values())
        if old in self.credited_before:
            self.credited_before[event] = self.credited_before.pop(old)
        self.adopted.add(event)
        return True

    def _learn(self) -> None:
        for event, ids in self.events.items():
            if event.startswith("report"):
                self._complete(ids)

    def _complete(self, ids: frozenset[str], owner: Owner | None = None) -> None:
        """Two ids are one message's if only one message has either, and it lacks the other."""
        found = self._with(ids)
        if len(found) == 1 and owner in (None, found[0].owner) and _one_of_each(found[0].ids | ids):
            found[0].ids |= ids

    def _with(self, ids: Set[str]) -> list[Message]:
        return [message for message in self.messages if message.ids & ids]

    def owners(self) -> dict[str, Owner]:
        """Return whom each known id belongs to."""
        return {id_: message.owner for message in self.messages for id_ in message.ids}


def _azure(ids: Set[str]) -> Set[str]:
    return {id_ for id_ in ids if id_[0] == "a"}


def _one_of_each(ids: Set[str]) -> bool:
    return len({id_[0] for id_ in ids}) == len(ids)
