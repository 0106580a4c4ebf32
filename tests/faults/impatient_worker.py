"""A worker as in production, but for its patience: what takes minutes there takes seconds here.

Its argument is the visibility timeout, in seconds, which must be longer than any task of the test takes. A child that
is asked to track a message of the campaign `DEADLY` dies, as of a lack of memory, and counts it in Redis.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import redis

from tasks import track
from worker.app import app
from worker.private_task import PrivateTask
from worker.queues import ALL
from worker.settings import WorkerSettings

DEADLY = 13
RETRIES = 1
#: Where the children that died are counted.
DEATHS = "deaths"


def main(visibility_seconds: int) -> None:
    """Work until killed."""
    PrivateTask.max_retries = RETRIES
    PrivateTask.default_retry_delay = 0
    app.conf.broker_transport_options = app.conf.broker_transport_options | {
        "visibility_timeout": visibility_seconds,
        "unacked_restore_interval": 1,
    }
    real = track._track

    def die_of_it(task: Any, calls: Any) -> str:
        if f"'campaign_id': {DEADLY}" in str(calls):
            redis.Redis.from_url(WorkerSettings.read().redis_url.get_secret_value()).incr(DEATHS)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(task, calls)

    track._track = die_of_it  # type: ignore[assignment]
    app.worker_main(
        ["worker", "--concurrency", "1", "--queues", ",".join(ALL), "--without-gossip", "--loglevel", "INFO"]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
