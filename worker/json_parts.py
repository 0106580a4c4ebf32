"""Split a JSON array that no parser accepts into its elements, so that the good ones can still be read."""

from __future__ import annotations

import re

#: What matters to nesting: whole strings (so that brackets inside them do not count), brackets and commas.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)


def split_parts(body: bytes) -> list[bytes]:
    """Return the elements of the array in ``body``, bytes untouched; ``[body]`` if it is not an array to its end.

    Only brackets, commas and strings are looked at, without recursion: an element may be anything, of any depth, and is
    for the real parser to judge.
    """
    depth = 0
    start = 0
    parts: list[bytes] = []
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if depth == 0 and (mark != b"[" or body[: token.start()].strip()):
            return [body]
        if mark in (b"[", b"{"):
            depth += 1
            if depth == 1:
                start = token.end()
        elif mark == b"," and depth == 1:
            parts.append(body[start : token.start()].strip())
            start = token.end()
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                parts.append(body[start : token.start()].strip())
                return parts if not body[token.end() :].strip() else [body]
    return [body]
