"""The name of one request, by which an operator gets from its answer to the batch that recorded it. docs/logs.md."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final

#: Where a request's id comes in, and goes out.
HEADER: Final = b"x-request-id"

#: What is taken for one: nothing that could be an address, begin a line, or fill a stream.
_SANE: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
#: W3C's trace context: version, id of the trace, id of the caller's span, flags.
TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")

_draw = random.getrandbits  # nothing depends on its not being guessed


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the id that the caller gives its request, or that of its trace, or else one of our own."""
    given = headers.get(HEADER)
    if given is not None and is_sane(given):
        return given
    parent = headers.get(b"traceparent")
    if parent is not None and (found := TRACEPARENT.fullmatch(parent)):
        return found[1]
    return b"%016x" % _draw(64)


def is_sane(given: bytes) -> bool:
    """Tell whether what a stranger calls an id may be taken for one: repeated in an answer, and told in a log."""
    return _SANE.fullmatch(given) is not None
