"""Cut events and trackings out of bodies, and leave the rest of each body as it stands. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.wire import body_parts
from worker.json_parts import MOST_PARTS, holds_more_parts
from worker.messages import are_no_trackings, split_trackings


def parts_of(kind: str, body: bytes) -> Sequence[bytes]:
    """Return the events or trackings of a body, each as it stands; one of absurdly many elements is one part."""
    if kind == "message":
        return [body] if are_no_trackings(body) else split_trackings(body)
    return [body] if holds_more_parts(body, MOST_PARTS) else [bytes(part) for part in body_parts(body)]


def cut_out(kind: str, body: bytes, change: Callable[[bytes], bytes | None]) -> bytes | None:
    """Return ``body`` with each part as ``change`` returns it, or without it for None.

    It is itself if no part was changed, and None if none is left.
    """
    parts = parts_of(kind, body)
    changed = [change(part) for part in parts]
    if changed == list(parts):
        return body
    left = [part for part in changed if part is not None]
    return b"[" + b",".join(left) + b"]" if left else None
