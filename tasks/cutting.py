"""Cut a stream of anything into batches that fit into memory and into one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

_T = TypeVar("_T")

#: Most bodies of one batch of a run, and the size at which it is cut; a larger body is one by itself.
BATCH_BODIES: Final = 1000
BATCH_BYTES: Final = 4 * 1024 * 1024


def in_batches(items: Iterable[_T], weigh: Callable[[_T], tuple[int, int]]) -> Iterator[list[_T]]:
    """Yield ``items`` in batches; ``weigh`` tells the bodies and the bytes that are in one of them."""
    batch: list[_T] = []
    bodies = size = 0
    for item in items:
        item_bodies, item_size = weigh(item)
        if batch and (bodies + item_bodies > BATCH_BODIES or size + item_size > BATCH_BYTES):
            yield batch
            batch, bodies, size = [], 0, 0
        batch.append(item)
        bodies += item_bodies
        size += item_size
    if batch:
        yield batch
