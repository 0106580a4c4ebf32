"""What an event does once it is attributed: rows in listmonk's tables, incidents, a place in the outbox.

Every function that attributes events calls this in its own transaction, so that nothing is attributed without its
results, nor twice with them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from db.bounces import NO_BOUNCES, BounceRules
from db.classifying import classify_events
from db.listmonk import acts
from db.listmonk.native import WATCHED, Watched
from db.listmonk.tables import Listmonk, find_listmonk
from db.models import MessageIds
from db.outbox import enqueue

_log = logging.getLogger(__name__)


def _nobody(*_counts: object) -> None:
    """Tell nobody."""


#: How long listmonk's tables and settings are taken to be as they were, in seconds.
_FRESH = 5.0


@dataclass
class Results:
    """What is to become of attributed events. One for each process and database.

    ``native_window`` is how far a native row of listmonk's may lie from an event to be the same act;
    ``personal_parameters`` are the query parameters, in lower case, that differ from reader to reader; ``bounces`` say
    which delivery reports are; ``webhook`` tells whether attributed events are to be put into the outbox; ``noticed``
    is told how many clicks named another campaign or reader by their link than by their message, and ``wrote`` how many
    rows were written to which table of listmonk's; both before the transaction commits.
    """

    native_window: timedelta = timedelta(seconds=5)
    personal_parameters: Collection[str] = frozenset()
    bounces: BounceRules = NO_BOUNCES
    webhook: bool = False
    noticed: Callable[[int], object] = _nobody
    wrote: Callable[[str, int], object] = _nobody
    _listmonk: Listmonk | None = field(default=None, repr=False)
    _read_at: float = field(default=0.0, repr=False)

    def listmonk(self, conn: Connection) -> Listmonk:
        """Return what there is of listmonk, as it was a few seconds ago at most."""
        now = time.monotonic()
        if self._listmonk is None or now - self._read_at > _FRESH:
            self._listmonk = find_listmonk(conn)
            self._read_at = now
        return self._listmonk

    def write(
        self,
        conn: Connection,
        *,
        engagements: Sequence[int] = (),
        deliveries: Sequence[int] = (),
        linked: bool = True,
        bounced: bool = True,
    ) -> None:
        """Write the results of events, given by their row ids, that the transaction of ``conn`` has just attributed.

        ``linked`` is false if it is known that no tracked link is among what was clicked, ``bounced`` if it is known
        that no bounce is among the reports.
        """
        listmonk = self.listmonk(conn)
        if engagements and listmonk.present:
            if linked:
                self._notice(acts.note_disagreements(conn, engagements))
            views, clicks = acts.count_acts(
                conn,
                listmonk,
                engagements,
                personal_parameters=self.personal_parameters,
                window=self.native_window,
            )
            self.wrote("campaign_views", views)
            self.wrote("link_clicks", clicks)
        if deliveries and bounced and listmonk.bounces:
            self.wrote("bounces", acts.count_bounces(conn, deliveries))
        if self.webhook:
            enqueue(conn, engagements=engagements, deliveries=deliveries)

    def classify(self, conn: Connection, *, engagements: Sequence[int], deliveries: Sequence[int]) -> None:
        """Say of events that were not read by us, or by an earlier release, what the reader says of others at once.

        Events that the replaced system has left waiting do not tell yet that they are bounces, or ways out.
        """
        classify_events(conn, self.bounces, engagements=engagements, deliveries=deliveries)

    def compare_late(self, conn: Connection, ids: MessageIds) -> None:
        """Compare clicks that their link attributed with their messages, which were tracked only now."""
        if ids and self.listmonk(conn).present:
            self._notice(acts.note_late_disagreements(conn, ids))

    def _notice(self, disagreements: int) -> None:
        if disagreements:
            _log.warning("%d clicks name another campaign or reader by their link than by their message", disagreements)
            self.noticed(disagreements)

    def absorb_native(self, conn: Connection, engagements: Sequence[int]) -> int:
        """Let native rows that came during our own transaction count these events, where they are one act.

        Call it when that transaction has committed, in a new one. Returns how many were counted natively.
        """
        listmonk = self.listmonk(conn)
        if not engagements or not listmonk.present:
            return 0
        return acts.absorb_native(conn, listmonk, engagements, window=self.native_window)

    def watch_native(self, conn: Connection, *, limit: int = WATCHED) -> Watched:
        """Let native rows that came after our events count them, where they are one act.

        A transaction of its own, for up to ``limit`` native rows of each kind; call it again while there are more.
        """
        listmonk = self.listmonk(conn)
        if not listmonk.present:
            return Watched()
        return acts.watch_native(conn, listmonk, window=self.native_window, limit=limit)
