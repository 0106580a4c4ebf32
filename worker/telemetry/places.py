"""Where a process counts: in its memory or, as one of a worker's, in files that the worker's main process adds up.

The processes of a worker count into files of one folder, of which worker/telemetry/exposition.py makes one answer.
Which file is a process's own is its place among them, and not its pid: whoever takes the place of one that has ended
goes on counting where that one stopped, so that there are never more files than processes.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any, Final

from prometheus_client import values

_log = logging.getLogger(__name__)

#: The variable by which prometheus_client is told of that folder. It has to be set before metrics are declared.
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

#: Files that a process counts into, by the beginnings of their names, and the room that is taken for each beforehand:
#: twice what the largest needs. Written to where a disk has no room left, a mapped file ends its process (SIGBUS).
_FILES: Final = ("counter", "histogram", "gauge_max", "gauge_mostrecent")
FILE_BYTES: Final = 128 * 1024

_place = "main"
_counts = True
_lock: int | None = None


def take_place(name: str) -> None:
    """Say which of a worker's processes this is, before it counts anything. No two at a time may have one place.

    A process that finds no room for its files counts nothing, says so, and works on.
    """
    global _place, _counts
    try:
        _make_room(name)
    except OSError as error:
        _counts = False
        _log.error("what this process counts is not told: %s (%s)", os.environ[FOLDER], error.strerror)
    else:
        _place, _counts = name, True


def _make_room(place: str) -> None:
    """Make the files of a place, and their folder, should somebody have tidied it away, unless they are there."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    _hold(folder)
    for kind in _FILES:
        path = Path(folder, f"{kind}_{place}.db")
        if path.exists():
            continue
        new = path.with_suffix(".new")  # whoever adds them up takes no file before it is whole
        try:
            with new.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
            new.rename(path)
        finally:
            new.unlink(missing_ok=True)


def _hold(folder: str) -> None:
    """Lock the folder, for as long as this process lives, against whoever tidies up what is in use by nobody."""
    global _lock
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    if _lock is not None:
        os.close(_lock)
    _lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(_lock, fcntl.LOCK_SH)


def _value_in_files() -> type:
    in_file: Any = values.MultiProcessValue(lambda: _place)  # type: ignore[no-untyped-call]

    class Value(in_file):  # type: ignore[misc]
        """One number in a file, which is left alone if there is no room for it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if _counts:
                super().__init__(*args, **kwargs)

        def inc(self, amount: float) -> None:
            if _counts:
                super().inc(amount)

        def set(self, value: float, timestamp: float | None = None) -> None:
            if _counts:
                super().set(value, timestamp)

        def get(self) -> float:
            return float(super().get()) if _counts else 0.0

    return Value


def count_into_files() -> None:
    """Have every metric that is declared from now on counted into files, if there is a folder for them."""
    if FOLDER in os.environ:
        take_place(_place)
        values.ValueClass = _value_in_files()
