"""What waits on the streams is looked at without being taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import redis

#: Entries in one reply: each may be as large as the receiver takes.
_PAGE: Final = 16


def waiting_bodies(client: redis.Redis, stream: str) -> Iterator[bytes]:
    """Yield the body of each entry of a stream that is not acknowledged yet, read by a drain or not, oldest first.

    Raises:
        redis.exceptions.RedisError: Redis cannot be reached.
    """
    after = "-"
    while True:
        entries: Any = client.xrange(stream, min=after, count=_PAGE)
        for entry_id, fields in entries:
            after = f"({entry_id.decode()}"
            yield fields.get(b"body", b"")
        if len(entries) < _PAGE:
            return
