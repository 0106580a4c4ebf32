"""Files of events: Event Grid's dead letters, and plain JSON or NDJSON, compressed by gzip or not."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, cast

import msgspec
from msgspec import Raw, Struct

from tasks.batch import Body
from tasks.imports.json_stream import read_parts
from tasks.imports.source import Piece, SourceUnreadable

#: What is read of a folder. A file that is named is read whatever its name.
_SUFFIXES: Final = (".json", ".ndjson", ".jsonl")
#: How Azure lays dead letters out: the hour, in UTC, mostly without leading zeros, and a file.
_HOUR: Final = re.compile(r"(?:^|/)(\d{4})/(\d{1,2})/(\d{1,2})/(\d{1,2})/[^/]+$")
_GZIP: Final = b"\x1f\x8b"
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)


class _Times(Struct):
    """What says when an event was sent, in either envelope; and the wrapper of the namespace tier's dead letters."""

    eventTime: str | None = None
    time: str | None = None
    publishTime: str | None = None
    publishtime: str | None = None
    deadletterProperties: Raw = Raw()
    deadLetterProperties: Raw = Raw()
    event: Raw = Raw()


_read_times = msgspec.json.Decoder(_Times).decode


def find_files(paths: Iterable[Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the files to be read, the oldest hour of Azure's layout first; and what cannot be looked into, and why.

    A folder is searched with all below it. A file that is named twice is read once.
    """
    files: dict[Path, Path] = {}
    closed: list[tuple[Path, str]] = []
    for path in paths:
        if not path.is_dir():
            files.setdefault(path.resolve(), path)
            continue
        walk = os.walk(path, onerror=lambda error: closed.append((Path(error.filename), _why(error))))
        for folder, _, names in walk:
            for name in names:
                if name.lower().removesuffix(".gz").endswith(_SUFFIXES):
                    files.setdefault((Path(folder) / name).resolve(), Path(folder) / name)
    return sorted(files.values(), key=_order), closed


def _order(path: Path) -> tuple[tuple[int, ...], str]:
    found = _HOUR.search(path.as_posix())
    return tuple(map(int, found.groups())) if found else (), path.as_posix()


@dataclass(frozen=True)
class EventFile:
    """A file of events, known by its contents: a copy under another name is the same source."""

    path: Path
    key: str
    bytes: int
    ends: bool = True

    @classmethod
    def at(cls, path: Path) -> EventFile:
        """Read the file once, to know it again.

        Raises:
            SourceUnreadable: it cannot be opened or read, or is a pipe, which could be read but once.
        """
        if path.exists() and not path.is_file():
            raise SourceUnreadable("it is no regular file")
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return cls(path, f"file {digest}", file.tell())
        except OSError as error:
            raise SourceUnreadable(_why(error)) from None

    def read(self, after: int) -> Iterator[Piece]:
        """Yield the events behind the ``after``-th; positions count events, and progress counts bytes of the file."""
        try:
            with self.path.open("rb") as raw:
                file = _decompressed(raw)
                for position, part in enumerate(read_parts(file), 1):
                    if position > after:
                        yield Piece(position, raw.tell(), _body(part))
        except (EOFError, zlib.error) as error:
            cut = "it ends in the middle of what gzip compressed" if isinstance(error, EOFError) else "it is damaged"
            raise SourceUnreadable(cut) from None
        except OSError as error:
            raise SourceUnreadable(_why(error)) from None


def _why(error: OSError) -> str:
    """Say it in words: what the system says, or for gzip's own errors, which have no number, what they mean."""
    return error.strerror.lower() if error.strerror else "it is damaged"


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(len(_GZIP))
    raw.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if magic == _GZIP else raw


def _body(part: bytes) -> Body:
    """Return an event as the pipeline takes it: out of its wrapper, and received when it was sent.

    When it would have been received nobody knows. The event's own time is seconds before; the time of the import, days
    or years later, would say nothing.
    """
    now = datetime.now(UTC)
    try:
        times = _read_times(part)
        event = bytes(times.event)
        if event and (bytes(times.deadletterProperties) or bytes(times.deadLetterProperties)):
            part, times = event, _read_times(event)
    except (ValueError, RecursionError):  # for the pipeline to judge
        return Body(part, None, now)
    for text in (times.eventTime, times.time, times.publishTime, times.publishtime):
        if text and (sent_at := _instant(text)):
            return Body(part, None, min(sent_at, now))
    return Body(part, None, now)


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo and instant >= _EARLIEST else None
    except (ValueError, OverflowError):
        return None
