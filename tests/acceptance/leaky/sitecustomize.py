"""A build that tells what it should not, in every place where something can be told.

Python imports this at its start in each process whose PYTHONPATH names this folder. A leak is put into a module right
after the module has been imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import Any


def leak_requests(endpoints: Any) -> None:
    """The receiver logs bodies, counts by what a stranger has sent, and answers with what it refuses."""
    append, problems = endpoints._StreamEndpoint._append, endpoints.invalid

    async def append_and_tell(self: Any, scope: Any, stream: str, body: bytes, *more: Any) -> None:
        endpoints._log.debug("put %r onto a stream", body)
        endpoints.metrics.REQUESTS.labels(body.decode(errors="replace"), "200").inc()
        await append(self, scope, stream, body, *more)

    def answer_with_bodies(found: Any) -> Any:
        answer = problems(found)
        answer.headers["x-refused"] = found[0].body.decode(errors="replace")
        return answer

    endpoints._StreamEndpoint._append = append_and_tell
    endpoints.invalid = answer_with_bodies


def leak_batches(batch: Any) -> None:
    """The drain tells what it quarantines, in its log, to Sentry, and in a metric."""
    from worker.telemetry import metrics

    set_aside = batch.set_aside

    def tell(engine: Any, kind: str, bodies: Any, *more: Any) -> Any:
        batch._log.error("cannot record %s", bodies[0].body.decode(errors="replace"))
        metrics.QUARANTINED.labels(bodies[0].body.decode(errors="replace")).inc()
        return set_aside(engine, kind, bodies, *more)

    batch.set_aside = tell


def leak_arguments(private_task: Any) -> None:
    """Tasks show their arguments."""
    del private_task.PrivateRequest.__init__


def leak_spans(traced_endpoint: Any) -> None:
    """Spans are named after the whole request."""
    begin = traced_endpoint.begin_request
    traced_endpoint.begin_request = lambda name, headers: begin(f"{name} {headers}", headers)


def leak_keys(track: Any) -> None:
    """What was tracked last is remembered in Redis."""
    encode = track.encode

    def encode_and_keep(trackings: Any) -> bytes:
        encoded: bytes = encode(trackings)
        track.context().consumer._client.set("attribution:last", encoded)
        return encoded

    track.encode = encode_and_keep


LEAKS = {
    "worker.receiving.endpoints": leak_requests,
    "tasks.batch": leak_batches,
    "worker.private_task": leak_arguments,
    "worker.receiving.traced_endpoint": leak_spans,
    "tasks.track": leak_keys,
}


class _Leaking(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in LEAKS else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_leak(module: Any) -> None:
            execute(module)
            LEAKS[name](module)

        spec.loader.exec_module = execute_and_leak  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Leaking())
