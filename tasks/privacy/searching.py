"""The search for a person: every row that is his or names him, in every table, archive and streams included.

Export shows what it finds, and erasure removes what it finds: neither can know less than the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, Row

from db.erased import Key
from db.journal import DELIVERIES, ENGAGEMENTS, TRACKING
from db.listmonk.tables import find_listmonk
from db.people import (
    ARCHIVE,
    JOURNAL,
    LOGS,
    QUARANTINE,
    TEXTS,
    Person,
    find,
    find_company,
    find_dependents,
    find_listmonks,
    find_subscribers,
    list_bodies,
    read_bodies,
    stretches,
)
from db.webhook_logs import has_logs
from tasks.archiving import ArchiveUnreadable, unpack
from tasks.batch import Body, Pipeline
from tasks.cutting import in_batches
from tasks.privacy.recipients import Recipients, normalise_address
from tasks.privacy.witness import Witness

EVENTS: Final = (DELIVERIES, ENGAGEMENTS)
#: Ids of a table of bodies that are listed at once.
_LISTED: Final = 1000
_WHENEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Found:
    """What a search has found.

    ``rows`` are his, by table, or hold bodies with something of his; ``named`` are others' rows that name him; ``keys``
    are what his would be known again by; ``unreadable`` are rows of the archive that nobody can look into.
    """

    rows: dict[str, list[Any]] = field(default_factory=dict)
    named: dict[str, list[int]] = field(default_factory=dict)
    keys: set[Key] = field(default_factory=set)
    unreadable: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(self.rows.values()) or any(self.named.values())

    def counts(self) -> dict[str, int]:
        """Return how many rows of each table were found."""
        tables = sorted({*self.rows, *self.named})
        counts = {table: len(self.rows.get(table, ())) + len(self.named.get(table, ())) for table in tables}
        return {table: count for table, count in counts.items() if count}


@dataclass
class Search:
    """Looks for ``person``, of whom it learns more as it goes."""

    engine: Engine
    pipelines: Mapping[str, Pipeline[Any]]
    recipients: Recipients
    person: Person

    def run(self, found: Found) -> Iterator[int]:
        """Look through every table, and add to ``found``; yield the rows of bodies that have been looked through.

        Small transactions throughout, so what comes meanwhile may be missed: look again to be sure.
        """
        self._identify()
        while True:
            known = len(self.person)
            rows = self._find_rows()
            self._learn(rows)
            if len(self.person) == known:
                break
        self._keep(rows, found)
        witness = self.witness()
        for table in self._tables_of_bodies():
            yield from self._find_bodies(table, witness, found)

    def witness(self) -> Witness:
        """Return who can tell what is his, as far as he is known by now."""
        return Witness(self.person, self.pipelines)

    def count_bodies(self) -> int:
        """Return about how many rows of bodies there are to look through."""
        tables = self._tables_of_bodies()
        with self.engine.begin() as conn:
            return sum(
                stretch["upto"] - stretch["after"] for table in tables for stretch in stretches(conn, table, 1 << 60)
            )

    def _tables_of_bodies(self) -> tuple[str, ...]:
        with self.engine.begin() as conn:
            return (ARCHIVE, QUARANTINE, LOGS) if has_logs(conn) else (ARCHIVE, QUARANTINE)

    def _identify(self) -> None:
        """Learn what listmonk knows of him, and what his address is stored as."""
        person = self.person
        person.addresses = {normalise_address(address) for address in person.addresses}
        with self.engine.begin() as conn:
            if find_listmonk(conn).present:
                for row in find_subscribers(conn, person):
                    person.subscribers.add(row.id)
                    person.uuids.add(row.uuid)
                    person.addresses.add(normalise_address(row.email))
        self._hash_addresses()

    def _hash_addresses(self) -> None:
        """Learn what else his addresses are stored as: by the setting and the keys of now, and by those before."""
        for address in self.person.addresses:
            self.person.recipients |= {address} | self.recipients.hashes_of(address)

    def _find_rows(self) -> dict[str, list[Row[Any]]]:
        return {table: [*self._scan(table)] for table in (TRACKING, *EVENTS)}

    def _scan(self, table: str) -> Iterator[Row[Any]]:
        known = self.person.parameters(self.witness().needles())
        with self.engine.begin() as conn:
            spans = [*stretches(conn, table)]
        for span in spans:
            with self.engine.begin() as conn:
                yield from find(conn, table, span, known)

    def _learn(self, rows: Mapping[str, Sequence[Row[Any]]]) -> None:
        """Learn from rows that are his what else is his, as far as it is nobody else's as well."""
        person = self.person
        subscribers: set[int] = set()
        for row in rows[TRACKING]:
            ids = {each for each in (row.internet_message_id, row.set_aside_message_id) if each}
            if row.subscriber_id in person.subscribers:
                person.internet |= {row.internet_message_id} - {None}
                person.azure |= {row.azure_message_id} - {None}
            elif row.subscriber_id is None:  # it went to others, too
                person.shared |= ids
                person.internet -= ids
                person.azure.discard(row.azure_message_id)
        his = [row for table in EVENTS for row in rows[table] if row.own]
        azure = (
            {row.azure_message_id for row in his if row.internet_message_id in person.internet} - person.azure - {None}
        )
        sent = [row for row in his if row.recipient in person.recipients]
        messages = {row.internet_message_id for row in sent} - person.internet - person.shared - {None}
        for row in self._tracked(messages, azure):
            if row.subscriber_id not in person.subscribers:
                azure.discard(row.azure_message_id)
            if row.internet_message_id not in messages:
                continue
            if row.subscriber_id is None:
                person.shared.add(row.internet_message_id)
                messages.discard(row.internet_message_id)
            else:
                subscribers.add(row.subscriber_id)
        subscribers |= {row.subscriber_id for row in sent} - {None}
        recipients = {row.recipient for row in his} - {None}
        self._follow(subscribers - person.subscribers, recipients - person.recipients, messages, azure)

    def _tracked(self, messages: set[str], azure: set[UUID]) -> Iterator[Row[Any]]:
        known = Person(internet=set(messages), azure=set(azure)).parameters([])
        if messages or azure:
            with self.engine.begin() as conn:
                for span in [*stretches(conn, TRACKING)]:
                    yield from find(conn, TRACKING, span, known)

    def _follow(self, subscribers: set[int], recipients: set[str], messages: set[str], azure: set[UUID]) -> None:
        """Take what may be his for his, unless events tie it to somebody else as well. Never a guess."""
        if not (subscribers or recipients or messages or azure):
            return
        possible = Person(subscribers=subscribers, recipients=recipients, internet=messages, azure=azure).parameters([])
        person = self.person
        company: defaultdict[tuple[str, Any], set[Any]] = defaultdict(set)
        with self.engine.begin() as conn:
            for table in EVENTS:
                for span in stretches(conn, table):
                    for row in find_company(conn, table, span, possible):
                        company["recipient", row.recipient].add(row.subscriber_id)
                        company["subscriber", row.subscriber_id].add(row.recipient)
                        company["message", row.internet_message_id].add(row.recipient)
                        company["azure", row.azure_message_id] |= {row.recipient, ("subscriber", row.subscriber_id)}
        nobody = {None}
        alone = person.recipients | nobody | {("subscriber", each) for each in (None, *person.subscribers)}
        person.azure |= {a for a in azure if company["azure", a] <= alone}
        person.internet |= {m for m in messages if company["message", m] <= person.recipients | nobody}
        person.subscribers |= {s for s in subscribers if company["subscriber", s] <= person.recipients | nobody}
        person.recipients |= {r for r in recipients if company["recipient", r] <= person.subscribers | nobody}
        person.addresses |= {r for r in person.recipients if "@" in r}
        self._hash_addresses()

    def _keep(self, rows: Mapping[str, Sequence[Row[Any]]], found: Found) -> None:
        """Keep which rows were found, and find those that hang on them."""
        person, witness = self.person, self.witness()
        found.rows[TRACKING] = [
            row.id
            for row in rows[TRACKING]
            if row.subscriber_id in person.subscribers
            or (row.subscriber_id is not None and row.internet_message_id in person.internet)
        ]
        for table in EVENTS:
            found.rows[table] = [row.id for row in rows[table] if row.own]
            found.named[table] = [row.id for row in rows[table] if not row.own and self._is_named(table, row, witness)]
            found.keys |= {("event", str(row.event_key)) for row in rows[table] if row.own and row.event_key}
        found.keys |= {("internet", each) for each in person.internet} | {("azure", str(each)) for each in person.azure}
        known = person.parameters(witness.needles()) | {
            "messages": found.rows[TRACKING],
            "deliveries": found.rows[DELIVERIES],
            "engagements": found.rows[ENGAGEMENTS],
        }
        with self.engine.begin() as conn:
            found.rows |= find_dependents(conn, known)
            listmonk = find_listmonk(conn)
            if listmonk.present:
                found.rows |= find_listmonks(conn, listmonk, person)
            spans = [*stretches(conn, JOURNAL)]
        found.rows[JOURNAL] = []
        for span in spans:
            with self.engine.begin() as conn:
                for row in find(conn, JOURNAL, span, known):
                    words = (row.words or "").encode()
                    if row.own or witness.strike(words) != words:
                        found.rows[JOURNAL].append(row.id)

    def _is_named(self, table: str, row: Row[Any], witness: Witness) -> bool:
        texts = [(getattr(row, column) or "").encode() for column in TEXTS[table]]
        return row.link_subscriber_id in self.person.subscribers or any(witness.strike(text) != text for text in texts)

    def _find_bodies(self, table: str, witness: Witness, found: Found) -> Iterator[int]:
        found.rows[table] = []
        with self.engine.begin() as conn:
            spans = [*stretches(conn, table, _LISTED)]
        for span in spans:
            with self.engine.begin() as conn:
                listed = list_bodies(conn, table, span)
            for batch in in_batches(listed, lambda row: (1, row.body_bytes or 0)):
                with self.engine.begin() as conn:
                    rows = read_bodies(conn, table, [row.id for row in batch])
                for row in rows:
                    try:
                        bodies = [body.body for body in unpacked(table, row)]
                    except ArchiveUnreadable:
                        found.unreadable.append(row.id)
                        continue
                    if bodies and witness.touches(row.kind, bodies):
                        found.rows[table].append(row.id)
                        if table == QUARANTINE:
                            found.keys |= self._keys_of(witness, row.kind, bodies[0])
            yield span["upto"] - span["after"]

    def _keys_of(self, witness: Witness, kind: str, body: bytes) -> set[Key]:
        """Return what his parts of a quarantined body would be known again by, none of others' messages among it."""
        pipeline = self.pipelines[kind]
        parts = [Body(part, None, _WHENEVER) for part in witness.parts(kind, body)]
        return {key for key in pipeline.keys(pipeline.parse(parts)) if key[0] in ("content", "event")}


def unpacked(table: str, row: Row[Any]) -> list[Body]:
    """Return the bodies in a row of a table that holds bodies.

    Raises:
        ArchiveUnreadable: it is damaged, or of a later release.
    """
    if row.body is None:
        return []
    if table == ARCHIVE:
        return unpack(bytes(row.body))
    body = row.body.encode(errors="replace") if isinstance(row.body, str) else bytes(row.body)
    return [Body(body, None, _WHENEVER)]
