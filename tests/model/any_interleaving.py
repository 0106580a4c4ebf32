"""A machine whose processes stop at any statement while others go on, and may be killed where they stand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from psycopg.errors import DeadlockDetected

from db.parking import EVENT_TABLES, expire_now, retry_now
from tests.interleavings.actors import Stop, gated_transaction
from tests.model.process import COMMIT, END, Process, Watch
from tests.model.sayings import Event, Sayings, Tracking, azure, bytes_of
from tests.model.standing import Standing, empty, look
from tests.model.truth import Owner, Truth
from tests.model.workplace import Workplace
from worker.streams import EVENTS, MESSAGES

#: Processes at once.
_AT_ONCE = 3

_of = Sayings(messages=6)
_batches = st.one_of(st.lists(_of.events, min_size=1, max_size=4), st.lists(_of.trackings, min_size=1, max_size=2))
#: What a process does: mostly a batch of events or of trackings; else a tracking of another program's, or what it says.
_works = st.one_of(
    *[_batches] * 4,
    _of.trackings.filter(lambda tracking: azure(tracking.ids) is not None),
    st.sampled_from(["sweep", "replay", "give up", "retry"]),
)


class AnyInterleaving(RuleBasedStateMachine):
    """Up to three processes at once, each advanced by some statements at a time. Mailers are honest here."""

    def __init__(self, place: Workplace, watch: Watch) -> None:
        super().__init__()
        self.place = place
        self.watch = watch
        self.truth = Truth()
        self.processes: list[Process] = []
        self.unacknowledged: list[Process] = []
        self.said: dict[int, Event] = {}
        #: The messages of rows that another program wrote, and whether a sweep was killed: what only a sweep notices.
        self.foreign: frozenset[str] = frozenset()
        self.half_swept = False
        self.credited: dict[str, Owner | None] = {}
        empty(watch.engine)

    @initialize(batch=st.lists(_of.events, min_size=3, max_size=10))
    def begin(self, batch: list[Event]) -> None:
        """Some events wait already."""
        self.start(batch)
        self._finish()

    @precondition(lambda self: len(self.processes) < _AT_ONCE)
    @rule(what=_works)
    def start(self, what: list[Event] | list[Tracking] | Tracking | str) -> None:
        """A process begins, and stops before its first statement."""
        engine = self.place.ctx.engine
        if isinstance(what, list):
            self._drain(what)
        elif isinstance(what, Tracking):
            known = Tracking(frozenset(id_ for id_ in what.ids if id_[0] == "a"), what.owner)
            self._start("foreign", lambda: self._insert(known), _numbers(known.ids))
            self.truth.track(*known)
        elif what == "sweep":
            self._start(what, lambda: self.place.sweep(engine))
        elif what == "replay":
            self._start(what, lambda: self.place.replay(engine))
        else:
            self._start(what, lambda: self._operate(expire_now if what == "give up" else retry_now), frozenset())

    def _drain(self, batch: Sequence[Event | Tracking]) -> None:
        said = [self.said.setdefault(each.number, each) if isinstance(each, Event) else each for each in batch]
        stream, body = EVENTS if isinstance(said[0], Event) else MESSAGES, self.place.body(bytes_of(said))
        messages = _numbers(id_ for each in said for id_ in each.ids)
        self._start(stream, lambda: self.place.drain(self.place.ctx.engine, stream, [body]), messages)
        for saying in said:
            if isinstance(saying, Tracking):
                self.truth.track(*saying)
            else:
                self.truth.receive(saying.name, saying.ids)

    def _insert(self, tracking: Tracking) -> None:
        """Do what the replaced mailer does, which knows nothing but Azure's id."""
        with gated_transaction(self.place.ctx.settings.database_url.get_secret_value()) as connection:
            connection.execute(
                "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [azure(tracking.ids), *tracking.owner],
            )

    def _operate(self, act: Callable[..., int]) -> None:
        with self.place.ctx.engine.begin() as conn:
            act(conn, event_ids=None, internet_message_id=None)

    def _start(self, name: str, work: Callable[[], object], messages: frozenset[str] | None = None) -> None:
        self.processes.append(Process(name, work, messages, self.foreign))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), how_far=st.sampled_from([1, 3, COMMIT, COMMIT, END]))
    def advance(self, data: st.DataObject, how_far: int) -> None:
        """One goes on, by some statements, until it is about to commit, or to its end."""
        self._advance(data.draw(st.sampled_from(self.processes)), how_far)

    advance_another = advance  # twice as often as anything else

    def _advance(self, process: Process, how_far: int) -> None:
        if process.go_on(how_far, self.watch.is_waiting) is not Stop.ENDED:
            return
        self.processes.remove(process)
        assert process.error is None, process.name
        assert DeadlockDetected.sqlstate not in process.sqlstates, process.gates
        if process.name == "foreign":
            self.foreign |= process.messages or frozenset()
        elif process.name == "sweep":
            self.foreign -= process.foreign

    @precondition(lambda self: len(self.processes) == _AT_ONCE)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """One dies where it stands."""
        process = data.draw(st.sampled_from(self.processes))
        process.kill()
        self.processes.remove(process)
        if process.name == "sweep":
            self.half_swept = True
        else:
            self.unacknowledged.append(process)

    @precondition(lambda self: self.unacknowledged and len(self.processes) < _AT_ONCE)
    @rule()
    def redeliver(self) -> None:
        """What was killed first begins anew."""
        process = self.unacknowledged.pop(0)
        self._start(process.name, process.call, process.messages)

    @invariant()
    def database_and_model_agree(self) -> None:
        """What has committed is right, whoever stands where; and nothing is missing or waits in vain."""
        standing = look(self.watch.engine)
        owners = self.truth.owners()
        assert standing.messages.items() <= owners.items()
        for name, stored in standing.events.items():
            assert stored.ids == self.truth.events[name]
            if name in self.credited or stored.state == "attributed":
                assert self.credited.setdefault(name, stored.owner) == stored.owner
                assert stored.owner in {owners[id_] for id_ in stored.ids & owners.keys()}
        at_work = [process.messages for process in (*self.processes, *self.unacknowledged)]
        if not self.half_swept and None not in at_work:
            self._nothing_is_left_undone(standing, self.foreign.union(*filter(None, at_work)))

    def _nothing_is_left_undone(self, standing: Standing, but: frozenset[str]) -> None:
        """Check the messages at which nobody is at work, nor was killed, and which need no sweep."""

        def is_done(ids: Iterable[str]) -> bool:
            return but.isdisjoint(_numbers(ids))

        known = self.truth.owners().keys()
        assert {id_ for id_ in known if is_done({id_})} <= standing.messages.keys()
        assert {name for name, ids in self.truth.events.items() if is_done(ids)} <= standing.events.keys()
        waiting = {name: stored.ids for name, stored in standing.events.items() if stored.state != "attributed"}
        assert not [name for name, ids in waiting.items() if is_done(ids) and ids & known]

    def _finish(self) -> None:
        """Let all go to their ends, in turn, and do again what was killed."""
        while self.processes or self.unacknowledged:
            if not self.processes:
                self.redeliver()
            for process in list(self.processes):
                self._advance(process, END)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else what has failed is told by what it raised
                self._finish()
                self.database_and_model_agree()
                for table in EVENT_TABLES:
                    self.place.change(f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked'")
                self.place.sweep(self.place.ctx.engine)
                self._nothing_is_left_undone(look(self.watch.engine), but=frozenset())
        finally:
            for process in self.processes:
                process.kill()


def _numbers(ids: Iterable[str]) -> frozenset[str]:
    """Return the numbers of the messages of ``ids``."""
    return frozenset(id_[1:] for id_ in ids)
