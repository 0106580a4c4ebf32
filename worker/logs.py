"""Log lines: one JSON object each for machines, or coloured for people.

Nothing confidential is handed to a logger anywhere, so nothing is redacted here. What a stranger chose, such as a
header, goes into ``extra`` and never into the message: there it is escaped, so that it can neither begin a line nor
colour one.
"""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any, Literal

#: What every record has; the rest came with ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logs(log_format: Literal["json", "console"], level: str) -> None:
    """Send all logging to standard error, in one format. Doing it again replaces what was set."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLine() if log_format == "json" else _ConsoleLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # two lines at each look at the schema
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # the uvicorn command brings handlers of its own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # An access log would hold query strings, and they hold secrets. Without any handler, uvicorn leaves it out.
    logging.getLogger("uvicorn.access").propagate = False


class Throttle:
    """Says when something that strangers can provoke at any rate may be logged again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = 0
        self._next_at = 0.0

    def count(self) -> int:
        """Count one more. Return how many there were since the last time this did not return zero."""
        self._count += 1
        if time.monotonic() < self._next_at:
            return 0
        self._next_at = time.monotonic() + self._seconds
        count, self._count = self._count, 0
        return count


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_extra(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _ConsoleLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        words = [
            f"{at} {_coloured(f'{record.levelname:<7}', _COLOURS.get(record.levelname, '0'))} {record.getMessage()}"
        ]
        words += [_coloured(f"{name}={value!r}", "2") for name, value in _extra(record).items()]
        words.append(_coloured(record.name, "2"))
        line = "  ".join(words)
        if record.exc_info and record.exc_info[1]:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _coloured(text: str, code: str) -> str:
    """Colour ``text`` for a terminal, wherever the line goes: `make up` passes it on to one. NO_COLOR is heeded."""
    return text if os.environ.get("NO_COLOR") else f"\x1b[{code}m{text}\x1b[0m"
