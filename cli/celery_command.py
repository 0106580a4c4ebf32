"""How the runners of Celery's programs become them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn


def become_celery(*arguments: str, environment: Mapping[str, str] | None = None) -> NoReturn:
    """Replace this process by Celery with our application, so that signals reach it directly.

    Raises:
        SettingsInvalid: now, in a sentence; Celery would drown it in a traceback.
    """
    from worker.settings import WorkerSettings

    WorkerSettings.read()
    # Quiet: our own logs say what the banner does, in our format.
    command = [sys.executable, "-m", "celery", "--quiet", "--app=worker.app", *arguments]
    os.execve(sys.executable, command, dict(os.environ) | dict(environment or {}))  # noqa: S606 - no shell is wanted
