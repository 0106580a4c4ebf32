"""Acknowledge, then commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proof.patching import patch
from tasks import drain

SENTENCE = "entries are acknowledged and deleted before the transaction with their events commits"
SHOWS_AS = "lost"


def apply() -> None:
    """Acknowledge each batch before it is recorded."""
    # tasks.drainer takes the function from there when it begins, which is later.
    patch(drain, "record_batch", _acknowledging_first)


def _acknowledging_first(record_batch: Callable[..., Any]) -> Callable[..., Any]:
    def record(consumer: Any, engine: Any, pipeline: Any, batch: Any) -> Any:
        consumer.acknowledge(batch.entries)
        return record_batch(consumer, engine, pipeline, batch)

    return record
