"""``python -m tests.worker.faulty_program FAULT MARK``: a process whose errors are tracked, and what goes wrong in it.

The mark comes from the command line, for lines of source are told.
"""

from __future__ import annotations

import logging
import sys
import threading

import sentry_sdk

from worker.settings import CommonSettings
from worker.telemetry.error_tracking import report, start_error_tracking
from worker.telemetry.logs import configure_logs

LOG = logging.getLogger("tests.faulty")
MARK = sys.argv[2]
ROW = f"DETAIL:  Key (internet_message_id)=(<{MARK}@mail.example.com>) already exists."


class Quoting(Exception):
    """An exception of a library that repeats what it refuses."""


def fail(payload: str) -> None:
    """Raise what repeats an argument, held in a local variable as well."""
    held = payload + MARK
    raise Quoting(held)


def logged_exception() -> None:
    """Log a traceback, and an error whose words others have chosen."""
    LOG.info("before it, to %s@example.com", MARK, extra={"subscription": f"x {MARK}@example.com"})
    try:
        fail(MARK)
    except Quoting:
        LOG.exception("it failed for %s", f"{MARK}@example.com", extra={"detail": ROW})


def uncaught() -> None:
    """Die of it."""
    fail(MARK)


def in_thread() -> None:
    """Have a thread die of it."""
    threading.excepthook = lambda *_arguments: None
    thread = threading.Thread(target=fail, args=(MARK,))
    thread.start()
    thread.join()


def again_and_again() -> None:
    """Log the same two errors a hundred times, and raise the same exception as often."""
    for number in range(100):
        LOG.error("a batch was not finished (%d)", number)
        LOG.error("something else")
        try:
            fail(MARK)
        except Quoting:
            LOG.exception("it failed")


def incidents() -> None:
    """Report two kinds, one of them often, and log one as well."""
    for number in range(5):
        report("keys_disagree", "two keys disagree", counts={"clicks": number})
    report("population", "few messages have an id", counts={"percent": 90})
    LOG.error("two keys disagree", extra={"incident": "keys_disagree"})
    for thread in threading.enumerate():
        if thread.name == "reporter":
            thread.join()


def main() -> None:
    """Do what the command line says, with Sentry as the environment says."""
    configure_logs("json", "INFO")
    start_error_tracking(CommonSettings.read(), "faulty")
    globals()[sys.argv[1]]()
    sentry_sdk.flush(5)


if __name__ == "__main__":
    main()
