"""Wall clocks that jump, for whole processes: PostgreSQL and Redis as well as our own.

A library of the package `libfaketime`, preloaded into a process, adds an offset to every reading of the wall clock. The
offset stands in a file and is read again once a second, so that the clock of a running process jumps. Monotonic clocks
stay true, as they do where an administrator or NTP sets a clock.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from stack.accounts import unprivileged_account
from stack.postgres_software import place_data, remove_data

#: Seconds after which every process has noticed a jump.
NOTICED_SECONDS: Final = 2.0

#: Where the C library keeps what processes share by name.
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - nothing is made there by us

_LIBRARY: Final = Path("vendor", "libfaketime", "src", "libfaketime.so.1")

_ENVIRONMENT: Final = {
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    # Look at the file whenever the second has changed: a look at each reading costs several times the reading.
    "FAKETIME_CACHE_DURATION": "0",
    # The library takes a monotonic limit of a wait on a condition for one of the wall clock, which has long passed.
    # Told how long each wait is to last, it lets them last that long. In a Python process only threads that wait for
    # the interpreter wait so, for 5 ms, and if they do not get it they wait again.
    "FAKETIME_WAIT_MS": "5",
    "FAKETIME_FORCE_MONOTONIC_FIX": "1",
    "NO_FAKE_STAT": "1",
}


def available() -> bool:
    """Say whether clocks can jump here: the package is installed, and this Python's waits need no wall clock.

    A Python built for old C libraries hands the kernel a time of the wall clock at which a wait is to end. The kernel's
    own clock does not jump with ours.
    """
    return _library() is not None and bool(sysconfig.get_config_var("HAVE_SEM_CLOCKWAIT"))


class Clock:
    """The wall clock of one process, or of several that jump together; right until `jump`.

    What the processes read lies in the folder ``place``, or behind a link there if PostgreSQL's user cannot reach it,
    or the loader cannot be told of it.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def environment(self) -> dict[str, str]:
        """Return what to add to the environment of a process, and of its children; nothing if not `available`."""
        library = _library()
        if library is None or not available():
            return {}
        folder = self._folder()
        copy = folder / library.name
        if not copy.exists():
            shutil.copyfile(library, copy)
            copy.chmod(0o755)
        if not _can_be_preloaded(copy):
            raise RuntimeError(
                f"{copy} cannot be preloaded: there is a space or a colon in it. Set TMPDIR to a folder without."
            )
        if not self._offset.exists():
            self.jump(0)
        return {"LD_PRELOAD": str(copy), "FAKETIME_TIMESTAMP_FILE": str(self._offset), **_ENVIRONMENT}

    def jump(self, seconds: float) -> None:
        """Set it ``seconds`` before true time, or behind it if negative; 0 sets it right.

        Processes notice within `NOTICED_SECONDS`.
        """
        unfinished = self._offset.with_suffix(".new")
        unfinished.write_text(f"{seconds:+.6f}\n")
        unfinished.chmod(0o644)
        unfinished.replace(self._offset)

    def remove(self) -> None:
        """Remove its files, and what killed processes have left in shared memory. No process may use it any more."""
        remove_data(self._place)
        for leftover in SHARED_MEMORY.glob("*faketime_*_*"):
            pid = leftover.name.rpartition("_")[2]
            if pid.isdecimal() and not Path("/proc", pid).exists():
                with suppress(OSError):
                    leftover.unlink()

    @property
    def _offset(self) -> Path:
        return self._folder() / "offset"

    def _folder(self) -> Path:
        if not self._place.exists() and not _can_be_preloaded(self._place):
            elsewhere = Path(tempfile.mkdtemp(prefix="attribution-"))
            elsewhere.chmod(0o711)
            self._place.symlink_to(elsewhere)
        return place_data(self._place, unprivileged_account()).resolve()


def _can_be_preloaded(path: Path) -> bool:
    """Say whether the loader can be told of a file there: it takes spaces and colons for the ends of names."""
    return not any(character in str(path.resolve()) for character in " :")


def _library() -> Path | None:
    if sys.platform != "linux":
        return None
    spec = importlib.util.find_spec("libfaketime")  # not imported: it would import packages of its own
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).parent / _LIBRARY
    return library if library.is_file() else None
