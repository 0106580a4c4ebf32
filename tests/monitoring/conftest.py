"""Prometheus's programs, without which there is nothing to test here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.monitoring import prometheus_binary
from tests.monitoring.prometheus_binary import Binaries, NoPrometheus

Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Prometheus and promtool. Where there are none tests are skipped; in CI, where nobody would see it, they fail."""
    try:
        return prometheus_binary.find()
    except NoPrometheus as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI must have Prometheus: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def promtool(binaries: Binaries) -> Promtool:
    """Run promtool with some arguments; return what it says, and fail with it if it complains."""
    import subprocess

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([binaries.promtool, *arguments], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    return run
