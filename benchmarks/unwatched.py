"""A drain process that counts nothing and logs nothing: ``python -m benchmarks.unwatched``. What (i) compares with."""

from __future__ import annotations

import logging
from unittest.mock import patch

from tasks import drainer


def main() -> None:
    """Run one drain process, deaf to whoever watches."""
    logging.disable(logging.INFO)
    with (
        patch("tasks.drain.observe_latency"),
        patch("worker.telemetry.metrics.observe_batch"),
        patch("worker.telemetry.metrics.count_outcomes"),
    ):
        drainer.main()


if __name__ == "__main__":
    main()
