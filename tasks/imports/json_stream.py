"""Events out of a file of JSON of any size and layout, one at a time.

A file is one of two things. Lines, each a whole JSON value (NDJSON). Or values laid out in any way: an array, or one
value, or several behind one another. Lines are told apart from the rest because there a broken line harms no other,
where in an array nobody can say at which bracket the breakage ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final

import msgspec

from tasks.imports.source import SourceUnreadable
from tasks.wire import body_parts

#: Largest event that is read. Event Grid takes 1 MB; what is much larger is no event, and would fill our memory.
LARGEST_PART: Final = 16 * 1024 * 1024

_CHUNK: Final = 1 << 20
#: From here to the next bracket that is not in a string. Possessive, so that a string cut off by the end of what was
#: read fails at once.
_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([\[\]{}])', re.DOTALL)
_BETWEEN: Final = b" \t\r\n,"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: How UTF-16 begins, in either order of bytes, with its mark or without.
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"[\0", b"\0{", b"\0[")
#: Lines by which lines are told from values.
_JUDGED: Final = 5

_check = msgspec.json.Decoder(msgspec.Raw).decode


def read_parts(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the events of ``file``, and what stands in the place of one, each in its own bytes.

    Raises:
        SourceUnreadable: it is no JSON, it ends within an event, or one part is too large. What was yielded before is
            sound.
    """
    first = file.read(_CHUNK).removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not first:
        raise SourceUnreadable("it is empty")
    if first.startswith(_UTF_16):
        raise SourceUnreadable("it is UTF-16; save it as UTF-8")
    if first[:1] not in (b"{", b"["):
        raise SourceUnreadable("it is no JSON of events: it begins with neither { nor [")
    yield from _read_lines(first, file) if _holds_lines(first) else _read_values(first, file)


def _holds_lines(first: bytes) -> bool:
    """Tell NDJSON by most of its first lines being whole values: some may be broken.

    One that is whole proves nothing, for it may stand before or in a value that is laid out over many lines.
    """
    lines = [line for line in first.split(b"\n", _JUDGED)[:_JUDGED] if line.strip()]
    return 2 * sum(map(_is_value, lines)) > len(lines)


def _is_value(line: bytes) -> bool:
    if line.strip()[:1] not in (b"{", b"["):
        return False
    try:
        _check(line)
    except (ValueError, RecursionError):
        return False
    return True


def _read_lines(rest: bytes, file: IO[bytes]) -> Iterator[bytes]:
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if part := line.strip():
                yield from map(bytes, body_parts(part))
        chunk = file.read(_CHUNK)
        if not chunk:
            break
        rest += chunk
        _check_size(rest)
    if last := rest.strip():
        if not _is_value(last):
            raise SourceUnreadable("it ends in the middle of an event")
        yield from map(bytes, body_parts(last))


def _read_values(buffer: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """Yield values by counting brackets; ``in_array`` tells that they are the elements of an array around all."""
    scanned = start = depth = 0
    in_array = False
    while True:
        found = _TO_BRACKET.match(buffer, scanned)
        if found is None:
            chunk = file.read(_CHUNK)
            if not chunk:
                break
            buffer, scanned, start = buffer[start:] + chunk, scanned - start, 0
            _check_size(buffer)
            continue
        bracket, scanned = found[1], found.end()
        if bracket in b"{[":
            if depth == 0:
                yield from _something(buffer[start : scanned - 1])
                start = scanned - 1
                if bracket == b"[" and not in_array:
                    in_array, start = True, scanned
                    continue
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield buffer[start:scanned]
                start = scanned
        elif in_array and bracket == b"]":
            yield from _something(buffer[start : scanned - 1])
            in_array, start = False, scanned
    if depth or in_array:
        raise SourceUnreadable("it ends in the middle of an event")
    yield from _something(buffer[start:])


def _something(between: bytes) -> Iterator[bytes]:
    """Yield what stands between two events and is neither a comma nor space: for the quarantine."""
    if part := between.strip(_BETWEEN):
        yield part


def _check_size(part: bytes) -> None:
    if len(part) > LARGEST_PART + _CHUNK:
        raise SourceUnreadable(f"it holds an event of more than {LARGEST_PART >> 20} MiB, which Event Grid never sends")
