"""A machine beside listmonk, which counts the same acts by its own pixel and redirect: each is counted once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from db.parking import EVENT_TABLES
from simulator import listmonk
from tasks.parked import watch
from tests.model.mortal import Killed, Mortal
from tests.model.sayings import Event, Saying, Sayings, Tracking, bytes_of, honest, lives
from tests.model.standing import empty
from tests.model.truth import Truth
from tests.model.workplace import Workplace
from worker.streams import EVENTS, MESSAGES

_of = Sayings(messages=3)
#: One query for each of listmonk's three tables: the kind, and whose each row is.
_COUNTED: Final = """
SELECT 'view', campaign_id, subscriber_id FROM campaign_views UNION ALL
SELECT 'click', campaign_id, subscriber_id FROM link_clicks UNION ALL
SELECT 'bounce', campaign_id, subscriber_id FROM bounces"""
#: Where tests/tasks/payloads.py has every click go.
_URL: Final = "https://www.example.com/offer"


class BesideListmonk(RuleBasedStateMachine):
    """An act is one event, or one native row, or both, in either order; a minute lies between two acts."""

    def __init__(self, place: Workplace, native: psycopg.Connection[Any]) -> None:
        super().__init__()
        self.place = place.afresh()
        self.native = native
        self.truth = Truth()
        self.said: dict[int, Event] = {}
        #: Acts that listmonk has counted itself.
        self.seen: set[int] = set()
        self.unacknowledged: list[tuple[str, list[Saying]]] = []
        empty(place.ctx.engine)
        native.execute("TRUNCATE campaign_views, link_clicks, links, bounces")
        self.link = listmonk.link(native, _URL)

    @initialize(
        batch=st.lists(_of.events, min_size=5, max_size=12),
        individual=st.booleans(),
        disabled=st.sampled_from([0, 0, 1]),
    )
    def begin(self, batch: list[Event], individual: bool, disabled: int) -> None:
        """Listmonk names its readers or not, or counts nothing at all."""
        self.individual, self.disabled = individual, bool(disabled)
        listmonk.set_setting(self.native, "privacy.individual_tracking", individual)
        listmonk.set_setting(self.native, "privacy.disable_tracking", self.disabled)
        self.receive(batch, None)

    @rule(batch=st.lists(_of.events, min_size=1, max_size=6), lives=lives)
    def receive(self, batch: list[Event], lives: int | None) -> None:
        self._drain(EVENTS, [self.said.setdefault(event.number, event) for event in batch], lives)

    @rule(batch=st.lists(_of.trackings, min_size=1, max_size=2), lives=lives)
    def track(self, batch: list[Tracking], lives: int | None) -> None:
        self._drain(MESSAGES, list(batch), lives)

    @precondition(lambda self: self.unacknowledged)
    @rule(lives=lives)
    def redeliver(self, lives: int | None) -> None:
        self._drain(*self.unacknowledged.pop(0), lives)

    def _drain(self, stream: str, said: list[Saying], lives: int | None) -> None:
        process = Mortal(self.place.ctx.engine, lives)
        try:
            self.place.drain(process.engine, stream, [self.place.body(bytes_of(said))])
        except Killed:
            self.unacknowledged.append((stream, said))
        for saying in said if process.commits else ():
            if isinstance(saying, Tracking):
                self.truth.track(saying.ids, saying.owner)
            elif isinstance(saying, Event):
                self.truth.receive(saying.name, saying.ids)

    @precondition(lambda self: not self.disabled)
    @rule(event=_of.events.filter(lambda event: event.kind != "report"), seconds=st.sampled_from([-4, -1, 0, 1, 4]))
    def act_before_listmonk(self, event: Event, seconds: int) -> None:
        """The reader's own pixel or redirect, a little before or after Azure's."""
        event = self.said.setdefault(event.number, event)
        if event.number in self.seen:
            return
        self.seen.add(event.number)
        owner, at = honest(event.ids), event.at + timedelta(seconds=seconds)
        reader = owner.subscriber if self.individual else None
        if event.kind == "view":
            listmonk.view(self.native, owner.campaign, reader, at)
        else:
            listmonk.click(self.native, owner.campaign, reader, self.link, at)

    @rule(lives=lives)
    def sweep(self, lives: int | None) -> None:
        with suppress(Killed):
            self.place.sweep(Mortal(self.place.ctx.engine, lives).engine)

    @rule()
    def become_due(self) -> None:
        for table in EVENT_TABLES:
            self.place.change(f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked'")

    @rule(dry_run=st.booleans())
    def replay(self, dry_run: bool) -> None:
        self.place.replay(self.place.ctx.engine, dry_run=dry_run)

    @invariant()
    def nothing_is_missing(self) -> None:
        """What listmonk has counted stays; what we count beside it, until the watch has looked, is one row an act."""
        counted = Counter(self.native.execute(_COUNTED.encode()).fetchall())
        assert self._rows(self.seen) <= counted
        assert counted <= self._rows(self.seen) + self._rows(self._attributed())

    @rule()
    def look_for_native_rows(self) -> None:
        """When everything is done and watched, each act is counted once, by whoever saw it."""
        while self.unacknowledged:
            self._drain(*self.unacknowledged.pop(), None)
        self.become_due()
        self.place.sweep(self.place.ctx.engine)
        watch(self.place.ctx)
        counted = Counter(self.native.execute(_COUNTED.encode()).fetchall())
        assert counted == self._rows(self.seen | set(self._attributed()))
        assert watch(self.place.ctx) == 0

    def _attributed(self) -> list[int]:
        owners = self.truth.owners()
        return [
            event.number for event in self.said.values() if self.truth.events.get(event.name, set()) & owners.keys()
        ]

    def _rows(self, acts: Iterable[int]) -> Counter[tuple[str, int, int | None]]:
        """Return the rows that listmonk's tables have for these acts."""
        rows: Counter[tuple[str, int, int | None]] = Counter()
        for event in (self.said[number] for number in acts):
            owner = honest(event.ids)
            if event.kind == "report":
                rows["bounce", owner.campaign, owner.subscriber] += event.bounced
            elif not self.disabled:
                rows[event.kind, owner.campaign, owner.subscriber if self.individual else None] += 1
        return +rows

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # else what has failed is told by what it raised
            self.look_for_native_rows()
