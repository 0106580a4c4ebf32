"""Every setting of the system, read from the environment, or from files of secrets, once and then frozen.

Names in the environment are the field names in capitals behind ``ATTRIBUTION_``. docs/settings.md lists them all, and a
test keeps that list true. Durations are seconds, or ISO 8601 (``PT30S``). Files: see worker/secret_files.py.
"""

from __future__ import annotations

from worker.settings.common import CommonSettings
from worker.settings.receiver import ReceiverSettings
from worker.settings.worker import WorkerSettings

__all__ = ["CommonSettings", "ReceiverSettings", "WorkerSettings"]
