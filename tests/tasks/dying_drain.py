"""A drain that kills itself, with SIGKILL, at the moment and in the batch of the stream named on its command line."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from sqlalchemy import Engine, event

from tasks import settling
from tasks.context import make_context
from tasks.drain import batches_of, drain_batch
from worker.settings import WorkerSettings
from worker.stream_consumer import StreamConsumer


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def prepare(moment: str) -> None:
    if moment == "before_commit":
        event.listen(Engine, "commit", die)  # called as the transaction is about to commit
    elif moment == "after_commit":
        settling.release = die  # type: ignore[attr-defined]
    elif moment == "after_re_check":
        StreamConsumer.acknowledge = die  # type: ignore[method-assign]
    else:
        raise ValueError(moment)


def main(moment: str, stream: str) -> None:
    ctx = make_context(WorkerSettings.read())
    for batch in batches_of(ctx.consumer.read(count=100, block=None), max_bytes=10**6):
        if batch.stream == stream:
            prepare(moment)
        drain_batch(ctx.consumer, ctx.engine, ctx.pipelines[batch.stream], batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
