"""A machine that does whatever can be done, in any order, dying wherever it can, and compares with the model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from db import parking
from tasks.batch import Body
from tests.model.mortal import Killed, Mortal
from tests.model.sayings import Event, Noise, Saying, Sayings, Tracking, azure, bytes_of, internet, lives
from tests.model.standing import empty, look
from tests.model.truth import Owner, Truth
from tests.model.workplace import Workplace
from worker.streams import EVENTS, MESSAGES

_of = Sayings(messages=3)


class Unacknowledged(NamedTuple):
    """A batch whose process died: it comes again."""

    stream: str
    bodies: list[Body]
    said: Sequence[Saying]


class AnyOrder(RuleBasedStateMachine):
    """One thing after the other; every process may die at any commit."""

    def __init__(self, place: Workplace) -> None:
        super().__init__()
        self.place = place
        self.truth = Truth()
        self.unacknowledged: list[Unacknowledged] = []
        #: Ids of rows that other programs wrote, which the next sweep notices.
        self.foreign: frozenset[str] = frozenset()
        #: Whether a sweep has died: what it had still to do is tried when it is due once more.
        self.half_swept = False
        self.past_deadline: set[str] = set()
        self.given_up: set[str] = set()
        self.credited: dict[str, Owner | None] = {}
        #: The bodies in the archive, by what they say of each event.
        self.archived: dict[str, set[frozenset[str]]] = {}
        self.noise: set[int] = set()
        #: What was first said of each event, recorded or not.
        self.said: dict[int, Event] = {}
        empty(place.ctx.engine)

    # What mailers and Event Grid say.

    @initialize(batch=st.lists(_of.events, min_size=8, max_size=20))
    def begin(self, batch: list[Event]) -> None:
        """Events overtake their messages, as they do; else nearly all would be attributed as they come."""
        self.receive(batch, apart=False, lives=None)

    @rule(batch=st.lists(_of.trackings, min_size=1, max_size=2), lives=lives)
    def track(self, batch: list[Tracking], lives: int | None) -> None:
        self._drain(MESSAGES, [self.place.body(bytes_of(batch))], batch, lives)

    @rule(batch=st.lists(_of.arrivals, min_size=1, max_size=4), apart=st.booleans(), lives=lives)
    def receive(self, batch: list[Event | Noise], apart: bool, lives: int | None) -> None:
        """Events in one body, or in one each. What has a number that came before is a redelivery of that one."""
        said = [self.said.setdefault(each.number, each) if isinstance(each, Event) else each for each in batch]
        contents = [bytes_of([each]) for each in said] if apart else [bytes_of(said)]
        self._drain(EVENTS, [self.place.body(content) for content in contents], said, lives)

    @rule(event=_of.events, lives=lives)
    def deny(self, event: Event, lives: int | None) -> None:
        """An event comes again and contradicts itself. Alone: together with other reports it may silence them."""
        if event.name in self.truth.events:
            self._drain(EVENTS, [self.place.body(bytes_of([event]))], [event], lives)

    @rule(batch=st.lists(_of.trackings | _of.rivals, min_size=1, max_size=3))
    def contradict(self, batch: list[Tracking]) -> None:
        """Trackings that contradict each other, or earlier ones. Who is first is beyond doubt: nothing else is open."""
        self._finish()
        for tracking in batch:
            self._drain(MESSAGES, [self.place.body(bytes_of([tracking]))], [tracking], None)

    @precondition(lambda self: self.unacknowledged)
    @rule(data=st.data(), lives=lives)
    def redeliver(self, data: st.DataObject, lives: int | None) -> None:
        batch = self.unacknowledged.pop(data.draw(st.integers(0, len(self.unacknowledged) - 1)))
        self._drain(*batch, lives)

    def _drain(self, stream: str, bodies: list[Body], said: Sequence[Saying], lives: int | None) -> None:
        process = Mortal(self.place.ctx.engine, lives)
        try:
            self.place.drain(process.engine, stream, bodies)
        except Killed:
            self.unacknowledged.append(Unacknowledged(stream, bodies, said))
        if process.commits:
            self._believe(said)
            for event in said:
                if isinstance(event, Event):
                    self.archived.setdefault(event.name, set()).add(event.ids)

    def _believe(self, said: Sequence[Saying]) -> None:
        for saying in said:
            if isinstance(saying, Tracking):
                self.truth.track(saying.ids, saying.owner)
            elif isinstance(saying, Noise):
                self.noise.add(saying.number)
            else:
                self.truth.receive(saying.name, saying.ids)

    # What other programs write behind our back.

    @rule(tracking=_of.trackings)
    def insert_tracking(self, tracking: Tracking) -> None:
        """The replaced mailer inserts a row. A Message-ID that is taken is set aside; an id of Azure's fails it."""
        known = self.truth.owners()
        taken = {id_ for id_ in tracking.ids if id_ in known}
        try:
            self.place.change(
                "INSERT INTO azure_message_tracking (internet_message_id, azure_message_id, campaign_id, subscriber_id)"
                " VALUES (:internet, :azure, :campaign, :subscriber)",
                internet=tracking.body.get("internet_message_id"),
                azure=azure(tracking.ids),
                **tracking.owner._asdict(),
            )
        except IntegrityError:
            assert any(id_[0] == "a" for id_ in taken)
            return
        self.foreign |= tracking.ids
        if tracking.ids - taken:
            self.truth.track(tracking.ids - taken, tracking.owner)

    @rule(event=_of.events.filter(lambda event: event.kind != "report"), owned=st.booleans())
    def insert_event(self, event: Event, owned: bool) -> None:
        """The replaced handler inserts a row, with the campaign that it guessed or with none."""
        event = self.said.setdefault(event.number, event)
        name = f"old {event.name}"
        if name in self.truth.events or event.name in self.truth.adopted or azure(event.ids) is None:
            return
        owner = Owner(4, 300) if owned else None
        self.place.change(
            "INSERT INTO azure_engagement_events (internet_message_id, azure_message_id, campaign_id, subscriber_id,"
            " engagement_type, event_timestamp, user_agent)"
            " VALUES (:internet, :azure, :campaign, :subscriber, :kind, :at, :name)",
            internet=internet(event.ids),
            azure=azure(event.ids),
            campaign=owner and owner.campaign,
            subscriber=owner and owner.subscriber,
            kind=event.kind.capitalize(),
            at=event.at,
            name=name,
        )
        self.truth.receive(name, event.ids)
        if owner:
            self.truth.credited_before[name] = owner
        else:
            self.foreign |= event.ids

    # Time, and the operator.

    @rule(deadline=st.booleans())
    def let_time_pass(self, deadline: bool) -> None:
        """Until everything parked is due, or even past its deadline."""
        for table in parking.EVENT_TABLES:
            self.place.change(f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked'")
            if deadline:
                self.place.change(f"UPDATE {table} SET created_at = created_at - interval '8 days'")
        if deadline:
            self.past_deadline = set(self.truth.events)

    @rule(lives=lives)
    def sweep(self, lives: int | None) -> None:
        try:
            self.place.sweep(Mortal(self.place.ctx.engine, lives).engine)
        except Killed:
            self.half_swept = True
        else:
            self.foreign = frozenset()

    @rule(
        act=st.sampled_from([parking.expire_now, parking.retry_now]), some=st.none() | st.lists(_of.events, max_size=3)
    )
    def operate(self, act: Callable[..., int], some: list[Event] | None) -> None:
        """The operator gives up events that wait, or has them tried once more: some, or all.

        What is given up is revived by its message's tracking, not by a sweep; so not while one is still to come.
        """
        if act is parking.expire_now and (self.foreign or self.half_swept):
            return
        chosen = set(self.truth.events) if some is None else {event.name for event in some} & self.truth.events.keys()
        with self.place.ctx.engine.begin() as conn:
            act(conn, event_ids=None if some is None else sorted(chosen), internet_message_id=None)
        self.given_up = self.given_up | chosen if act is parking.expire_now else self.given_up - chosen

    # Replays and imports. One that dies is begun again, as the operator would.

    @rule(lives=lives, dry_run=st.booleans())
    def replay(self, lives: int | None, dry_run: bool) -> None:
        if not dry_run:
            self._until_done(self.place.replay, lives)
            return
        before = look(self.place.ctx.engine)
        self.place.replay(self.place.ctx.engine, dry_run=True)
        assert look(self.place.ctx.engine) == before

    @precondition(lambda self: self.archived)
    @rule(data=st.data(), lives=lives)
    def lose_and_replay(self, data: st.DataObject, lives: int | None) -> None:
        """What is lost comes back, if it was archived and did not contradict itself."""
        names = [name for name, said in self.archived.items() if said == {self.truth.events[name]}]
        lost = [name for name in names if data.draw(st.booleans()) and name not in self.truth.adopted]
        for table, kind in zip(parking.EVENT_TABLES, ("delivery", "engagement"), strict=True):
            self.place.change(
                f"WITH lost AS (DELETE FROM {table} WHERE event_id = ANY(:lost) RETURNING id)"
                f" DELETE FROM attribution_outbox WHERE kind = '{kind}' AND event_row IN (SELECT id FROM lost)",
                lost=lost,
            )
        for name in lost:
            self.credited.pop(name, None)
        self.past_deadline -= set(lost)
        self.given_up -= set(lost)
        self._until_done(self.place.replay, lives)

    @rule(batch=st.lists(_of.events, min_size=1, max_size=4, unique_by=lambda event: event.number), lives=lives)
    def import_file(self, batch: list[Event], lives: int | None) -> None:
        """Events of which the replaced system may have stored some, without knowing which they are."""
        batch = [self.said.setdefault(event.number, event) for event in batch]
        content = bytes_of(batch)
        self._until_done(lambda engine: self.place.import_file(engine, content), lives)
        for event in batch:
            if self.truth.adopt(f"old {event.name}", event.name, event.ids):
                for names in (self.past_deadline, self.given_up):
                    names |= {event.name} if f"old {event.name}" in names else set()
        self._believe(batch)

    def _until_done(self, run: Callable[[Engine], None], lives: int | None) -> None:
        try:
            run(Mortal(self.place.ctx.engine, lives).engine)
        except Killed:
            run(self.place.ctx.engine)

    # What must hold.

    @invariant()
    def database_and_model_agree(self) -> None:
        """Nothing is there twice, missing, or credited wrongly; and nothing waits but for what is still to be done."""
        standing = look(self.place.ctx.engine)
        owners = self.truth.owners()
        assert {name: stored.ids for name, stored in standing.events.items()} == self.truth.events
        assert standing.quarantined == len(self.noise)
        assert standing.messages.items() <= owners.items()
        for name, stored in standing.events.items():
            if name in self.credited or stored.state == "attributed":
                assert self.credited.setdefault(name, stored.owner) == stored.owner
                assert stored.owner in self._right_owners(name, stored.matched_by)
            assert stored.state != "expired" or name in self.past_deadline | self.given_up
        waits = {name for name, stored in standing.events.items() if stored.state != "attributed"}
        may_wait = {name for name, ids in self.truth.events.items() if not ids & owners.keys() or self._is_open(ids)}
        must_wait = {name for name in may_wait if not self._is_open(self.truth.events[name])}
        assert must_wait - self.truth.credited_before.keys() <= waits <= may_wait
        assert {id_ for id_ in owners if not self._is_open(frozenset({id_}))} <= standing.messages.keys()

    def _is_open(self, ids: frozenset[str]) -> bool:
        """Tell whether somebody has still to look, for the second time, at the message of ``ids``."""
        said = (each.ids for batch in self.unacknowledged for each in batch.said if not isinstance(each, Noise))
        numbers = {id_[1:] for id_ in self.foreign.union(*said)}
        return self.half_swept or not numbers.isdisjoint(id_[1:] for id_ in ids)

    def _right_owners(self, name: str, matched_by: str | None) -> set[Owner]:
        """Return whose an event is by the key that it was matched by."""
        if matched_by == "replaced_system":
            return {self.truth.credited_before[name]}
        kinds = {"internet_message_id": "i", "azure_message_id": "a", "delivery_report": "ia"}[matched_by or ""]
        owners = self.truth.owners()
        return {owners[id_] for id_ in self.truth.events[name] if id_[0] in kinds and id_ in owners}

    def _finish(self) -> None:
        """Have all that died done again, and all that is due tried."""
        while self.unacknowledged:
            self._drain(*self.unacknowledged.pop(), None)
        self.database_and_model_agree()  # before a sweep may make good what a redelivery has left undone
        if self.half_swept:
            self.let_time_pass(deadline=False)
        self.sweep(None)
        self.half_swept = False

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:  # what has failed is told by what it raised
            return
        self._finish()
        self.database_and_model_agree()
        self.let_time_pass(deadline=False)
        self.sweep(None)
        self.database_and_model_agree()
        for name, stored in look(self.place.ctx.engine).events.items():
            if stored.state != "attributed":
                assert stored.state == ("expired" if name in self.past_deadline | self.given_up else "parked")
