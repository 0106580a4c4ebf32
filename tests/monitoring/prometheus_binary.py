"""Prometheus and promtool for tests: the machine's own, or Debian's package, unpacked in the checkout without root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: What git ignores and `make clean` removes.
FOLDER: Final = ROOT / ".tools"
#: The package is 20 MB.
_SECONDS: Final = 120


class NoPrometheus(Exception):
    """There is none on this machine, and none could be fetched; the message says why."""


@dataclass(frozen=True)
class Binaries:
    """Where both programs are."""

    prometheus: Path
    promtool: Path


def find(folder: Path = FOLDER) -> Binaries:
    """Return the programs on PATH, or those in ``folder``, which are fetched there once, whoever asks at the same time.

    Raises:
        NoPrometheus: there are none, and this machine has no apt or no way to Debian's packages.
    """
    on_path = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(on_path):
        return Binaries(*(Path(str(path)) for path in on_path))
    unpacked = folder / "prometheus"
    with _alone(folder):
        if not unpacked.exists():
            _fetch(unpacked)
    return Binaries(unpacked / "usr/bin/prometheus", unpacked / "usr/bin/promtool")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with (folder / "prometheus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(unpacked: Path) -> None:
    """Download and unpack; what is there in the end is whole, whenever this was killed."""
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise NoPrometheus(f"there is no prometheus on PATH, and no {program} to fetch Debian's package with")
    with tempfile.TemporaryDirectory(dir=unpacked.parent) as name:
        fetched = Path(name)
        try:
            _run(fetched, "apt-get", "download", "prometheus")
        except NoPrometheus:  # the machine has no lists of packages, as is usual in containers: make lists of our own
            (fetched / "lists").mkdir()
            (fetched / "cache").mkdir()
            own = ("-o", f"Dir::State::lists={fetched}/lists", "-o", f"Dir::Cache={fetched}/cache")
            _run(fetched, "apt-get", *own, "update")
            _run(fetched, "apt-get", *own, "download", "prometheus")
        (package,) = fetched.glob("prometheus_*.deb")
        _run(fetched, "dpkg-deb", "--extract", str(package), "unpacked")
        os.replace(fetched / "unpacked", unpacked)


def _run(folder: Path, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise NoPrometheus(f"there is no prometheus on PATH, and `{command[0]}` took more than {_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoPrometheus(
            f"there is no prometheus on PATH, and Debian's package cannot be fetched: {said[-1] if said else 'no word'}"
        )
