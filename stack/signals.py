"""Signals that ask a process to end: made exceptions so that it ends in order, and held off while it tidies up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `SystemExit` inside the context. Ctrl-C raises `KeyboardInterrupt` as ever."""
    with _handling(dict.fromkeys(_ENDINGS, _exit)):
        yield


@contextmanager
def undisturbed() -> Iterator[threading.Event]:
    """Let no request to end interrupt the context, which is for tidying up and must therefore be short.

    An impatient Ctrl-C would otherwise leave half of it undone. It sets the event that the context is given.
    """
    impatient = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        impatient.set()

    with _handling({signal.SIGINT: note} | dict.fromkeys(_ENDINGS, signal.SIG_IGN)):
        yield impatient


@contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only, whose business they then are.
        yield
        return
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
