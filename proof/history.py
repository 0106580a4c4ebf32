"""The history of a run: a file of JSON lines, written as things happen, from which the run can be played again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from worker.errors import AttributionError


class HistoryUnreadable(AttributionError):
    """The file is not the history of a run."""


class Options(msgspec.Struct, frozen=True, tag="options"):
    """What a run is made from. The same options make the same plan and the same events."""

    seed: int
    events: int
    #: None is the short plan.
    faults: int | None
    kinds: tuple[str, ...] = ()
    sabotage: str | None = None
    #: Seconds in which the system must get well after a fault, and come to rest in the end.
    patience: float = 120.0
    started_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))


class Struck(msgspec.Struct, frozen=True, tag="struck"):
    """A fault that has been played: when, for how long, and how long the system then took to get well, in seconds."""

    number: int
    kind: str
    target: str
    at: float
    lasted: float
    recovery: float
    detail: str
    #: Whether there was something that it has disturbed.
    effect: bool = True


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    """How the run ended. The faults are sentences, of which each names an event."""

    sent: int
    acknowledged: int
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    wrong: tuple[str, ...]
    given_up: int


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The run did not come to its end."""

    reason: str


Record = Options | Struck | Judged | Stopped


class History:
    """Appends records; each is in the file when `add` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encode = msgspec.json.Encoder().encode

    def add(self, record: Record) -> None:
        """Append a record."""
        with self.path.open("ab") as file:
            file.write(self._encode(record) + b"\n")


@contextmanager
def history(folder: Path, options: Options) -> Iterator[History]:
    """Begin a history in a file of its own; if the context fails, it says so."""
    folder.mkdir(parents=True, exist_ok=True)
    written = History(folder / f"{options.started_at:%Y%m%dT%H%M%S}-seed-{options.seed}.jsonl")
    written.add(options)
    try:
        yield written
    except BaseException as error:
        written.add(Stopped(f"{type(error).__name__}: {error}"))
        raise


def read_options(path: Path) -> Options:
    """Return what the run of a history was made from.

    Raises:
        HistoryUnreadable: it is none, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            record = msgspec.json.decode(file.readline(), type=Record)
    except OSError as error:
        raise HistoryUnreadable(
            f"{path} cannot be read: {error.strerror}. Name a file of .state/prove-history."
        ) from None
    except msgspec.MsgspecError:
        record = None
    if not isinstance(record, Options):
        raise HistoryUnreadable(f"{path} is not the history of a run. Name a file of .state/prove-history.")
    return record
