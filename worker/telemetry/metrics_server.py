"""Where a worker's metrics are served: from its main process, for its pool and its drain processes as well.

Each of them counts into files of its own in one folder, and what is in there is added up when Prometheus asks.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from celery import bootsteps
from prometheus_client import start_http_server

from worker.settings import WorkerSettings
from worker.telemetry.exposition import Measured, counted_by_all, counted_by_nobody
from worker.telemetry.places import FOLDER

_log = logging.getLogger(__name__)

_PREFIX: Final = "attribution-metrics-"


def make_folder() -> str | None:
    """Return a new folder for a worker's processes to count into, or None if none can be made, which is logged.

    It lies in the one that is given, which several workers may share, or else where temporary files do. A lock on it,
    which outlives ``exec``, says that it is in use: whoever tidies such folders up heeds it. So do we, of those that a
    killed worker has left.
    """
    try:
        given = Path(os.environ.get(FOLDER) or tempfile.gettempdir())
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in given.glob(f"{_PREFIX}*"):
            _remove_if_left(left)
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=given)
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.set_inheritable(lock, True)
    except OSError as error:
        _log.error("metrics are not counted: no folder can be made for them (%s)", error)
        return None
    return folder


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # another user's, or gone just now
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def remove_folder() -> None:
    """Remove that folder, with what was counted, if it is one of ours."""
    folder = os.environ.get(FOLDER, "")
    if Path(folder).name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


class MetricsServer(bootsteps.StartStopStep):
    """Serves the metrics as long as the worker runs: from before it waits for Redis until its drains have ended."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._server: WSGIServer | None = None

    def start(self, parent: Any) -> None:
        """Start serving. A worker that cannot, because the port is taken, says so and works on without.

        One without a folder tells what was measured: who asks the port whether it lives must not end it for that.
        """
        settings = WorkerSettings.read()
        if not settings.metrics_port:
            return
        folder = os.environ.get(FOLDER, "")
        registry = counted_by_all(folder) if Path(folder).is_dir() and folder else counted_by_nobody()
        registry.register(Measured(settings.redis_url.get_secret_value()))
        try:
            self._server, _ = start_http_server(settings.metrics_port, settings.metrics_host, registry)
        except OSError as error:
            _log.error(
                "metrics are not served: %s:%d cannot be listened on (%s); set ATTRIBUTION_METRICS_PORT to another"
                " port, or to 0 to serve none",
                settings.metrics_host, settings.metrics_port, error.strerror,
            )  # fmt: skip

    def stop(self, parent: Any) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        remove_folder()

    terminate = stop
