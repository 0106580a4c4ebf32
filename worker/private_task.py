"""Tasks whose arguments Flower, the log and the error tracker do not get to see.

Whoever enqueues a task sends a printable copy of its arguments along, and Celery shows that copy everywhere. A mailer's
arguments are Message-IDs, which name people more often than one thinks. The worker replaces the copy on arrival.
"""

from __future__ import annotations

from typing import Any, Final

from celery import Task
from celery.worker.request import Request

from worker.errors import DatabaseAway

#: What stands in the place of the arguments.
HIDDEN: Final = "(hidden)"


class PrivateRequest(Request):
    """A request to run a task, its printable arguments replaced."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self._argsrepr = self._kwargsrepr = HIDDEN
        self._request_dict["argsrepr"] = self._request_dict["kwargsrepr"] = HIDDEN  # type: ignore[attr-defined]


class PrivateTask(Task[Any, Any]):
    """Base of every task here."""

    Request = "worker.private_task:PrivateRequest"
    #: Retries are for tasks that Redis or a killed child failed; each waits for less than the visibility timeout.
    max_retries = 10
    default_retry_delay = 5
    #: Failures that are not told each: while PostgreSQL is away there are several a second, and its first is told.
    throws = (DatabaseAway,)
