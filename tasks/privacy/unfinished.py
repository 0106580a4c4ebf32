"""An erasure that ended with something open is known again by whom it is about, and gone on with."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.people import Person
from db.runs import start_run
from db.unfinished import Left, Unfinished, end_unfinished, end_whole, find_unfinished_erasures
from tasks.patience import patiently
from tasks.privacy.erasing import Erasure, StillComing, StillOpen
from tasks.privacy.recipients import Recipients
from tasks.privacy.searching import Search


@dataclass
class Earlier:
    """Erasures that ended with something open: those of the same person, the newest last, and others'."""

    his: list[Unfinished] = field(default_factory=list)
    others: list[Unfinished] = field(default_factory=list)


def find_earlier(search: Search) -> Earlier:
    """Return which erasures ended with something open. Whoever asks has his turn, and has looked for the person."""

    def find() -> list[Unfinished]:
        with search.engine.begin() as conn:
            return find_unfinished_erasures(conn)

    earlier = Earlier()
    for unfinished in patiently(find):
        same = _is_about(unfinished.parameters, search.person, search.recipients)
        (earlier.his if same else earlier.others).append(unfinished)
    return earlier


@contextmanager
def erasure_of(search: Search, earlier: Earlier) -> Iterator[tuple[int, Erasure]]:
    """Yield the number of an erasure's run, and what it has erased; its run says how it ended, however it ended.

    If an erasure of the same person ended with something open, it is that run. To leave nothing open the caller calls
    `conclude`; a process that dies here is found by the next erasure.
    """
    engine = search.engine
    _end_killed(engine, earlier.others)
    erasure = Erasure()
    if earlier.his:
        run_id = earlier.his[-1].run_id
        erasure.removed.update(earlier.his[-1].removed)
    else:
        with engine.begin() as conn:
            run_id = start_run(conn, "erase", _marks_of(search.person, search.recipients))
    try:
        yield run_id, erasure
    except (Exception, KeyboardInterrupt) as error:
        with suppress(SQLAlchemyError):  # PostgreSQL is away, then: the next erasure finds that this one has died
            _leave(engine, run_id, _why(error), erasure)
        raise


def conclude(search: Search, run_id: int, erasure: Erasure, earlier: Earlier, *, waiting: bool) -> None:
    """Write down that nothing is left of the person, unless something of him is ``waiting`` on the streams."""
    if waiting:
        _leave(search.engine, run_id, "on_the_streams", erasure)
        return
    others = [each.run_id for each in earlier.his if each.run_id != run_id]
    with search.engine.begin() as conn:
        end_whole(conn, run_id, erasure.removed, others)


def _why(error: BaseException) -> Left:
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, StillOpen):
        return "transaction_open"
    return "came_again" if isinstance(error, StillComing) else "failed"


def _leave(engine: Engine, run_id: int, left: Left, erasure: Erasure) -> None:
    with engine.begin() as conn:
        end_unfinished(conn, run_id, left, erasure.removed)


def _end_killed(engine: Engine, unfinished: Sequence[Unfinished]) -> None:
    for each in unfinished:
        if each.ended_at is None:
            _leave(engine, each.run_id, "killed", Erasure(each.removed))


def _names_of(person: Person) -> list[str]:
    return [*map(str, sorted(person.subscribers)), *sorted(person.addresses | person.recipients)]


def _marks_of(person: Person, recipients: Recipients) -> dict[str, Any]:
    """Return what a run is to be known again by. Nobody tells from it who that is, if there is a key of recipients."""
    salt = secrets.token_hex(16)
    return {"salt": salt, "about": [_mark(recipients.hash_of(name) or name, salt) for name in _names_of(person)]}


def _is_about(parameters: Mapping[str, Any], person: Person, recipients: Recipients) -> bool:
    salt = parameters.get("salt", "")
    known = {secret for name in _names_of(person) for secret in (name, *recipients.hashes_of(name))}
    return not {_mark(secret, salt) for secret in known}.isdisjoint(parameters.get("about", ()))


def _mark(secret: str, salt: str) -> str:
    return blake2b(secret.encode(), key=salt.encode(), digest_size=16).hexdigest()
