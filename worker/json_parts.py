"""Split a JSON array that no parser accepts into its elements, so that the good ones can still be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

#: What matters to nesting: whole strings (so that brackets inside them do not count), brackets and commas. A string
#: without its end is one to the end of the body, and nothing is given back once it is taken: looked for anew at each of
#: its quotation marks, the end that is missing would cost the square of the body's length.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)

#: Most elements of one body that are looked at, one by one. Event Grid puts 5,000 events into a request at most.
MOST_PARTS: Final = 50_000


def split_parts(body: bytes) -> list[bytes]:
    """Return the elements of the array in ``body``, bytes untouched; ``[body]`` if it is not an array to its end.

    Only brackets, commas and strings are looked at, without recursion: an element may be anything, of any depth, and is
    for the real parser to judge. Not for a body that `holds_more_parts` than are wanted.
    """
    parts: list[bytes] = []
    for start, end, is_last in _spans(body):
        parts.append(body[start:end].strip())
        if is_last:
            return parts if not body[end + 1 :].strip() else [body]
    return [body]


def holds_more_parts(body: bytes, most: int) -> bool:
    """Tell whether ``body`` is, or begins like, an array of more than ``most`` elements.

    Nothing is kept of them, so it takes no memory to be told; nor time, unless the body is full of commas.
    """
    if body.count(b",") < most:
        return False
    return next(islice(_spans(body), most, None), None) is not None


def _spans(body: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each element of the array in ``body`` begins and ends, and whether the array ends there, too.

    Nothing is yielded of what does not begin like an array.
    """
    depth = 0
    start = 0
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if depth == 0 and (mark != b"[" or body[: token.start()].strip()):
            return
        if mark in (b"[", b"{"):
            depth += 1
            if depth == 1:
                start = token.end()
        elif mark == b"," and depth == 1:
            yield start, token.start(), False
            start = token.end()
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                yield start, token.start(), True
                return
