"""Log lines: one JSON object each for machines, or coloured ones for people. docs/logs.md lists what they tell.

Everybody logs with Python's own `logging`, our code and every library; structlog gives all of it one form, so no line
comes out otherwise than the rest. docs/adr/0031-logs-and-sentry.md says why it is so.

Nothing confidential is handed to a logger anywhere, so messages are not redacted here. What a stranger chose, such as a
header, goes into ``extra`` and never into the message: there it is escaped, so that it can neither begin a line nor
colour one. Exceptions are worded by others, and may repeat a row: their texts are scrubbed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any, Final, Literal

from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter
from structlog.processors import EventRenamer, JSONRenderer
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import EventDict, ExcInfo, Processor

from worker.telemetry.scrubbing import scrub_text

#: Of what comes with a record in ``extra``, what is said elsewhere in the line already.
_SAID: Final = ("color_message", "taskName")
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
#: What moves a terminal's cursor or colours, spelt out.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {0x0A: "\\n", 0x09: "\\t"}
_CONTROLS_IN_LINES: Final = {code: escape for code, escape in _CONTROLS.items() if code not in (0x09, 0x0A)}


def configure_logs(log_format: Literal["auto", "json", "console"], level: str) -> None:
    """Send all logging to standard error, in one format. Doing it again replaces what was set.

    With ``auto`` it is for people if standard error is a terminal, and for machines if not.
    """
    if log_format == "auto":
        log_format = "console" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[EventRenamer("message"), ExtraAdder(), _put_in_order],
            processors=[ProcessorFormatter.remove_processors_meta, *(_JSON if log_format == "json" else _console())],
        )
    )
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
    """Says when something may be logged again that strangers can provoke at any rate, or that goes on for long."""

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


def _put_in_order(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Begin the line with what every line has; nothing in ``extra`` may take its place."""
    record: logging.LogRecord = line["_record"]
    ordered: EventDict = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": line.pop("message"),
        "process": record.process,
    }
    more = {name: value for name, value in line.items() if name not in ordered and name not in _SAID}
    return {**ordered, **more}


def _add_error(_logger: Any, _method: str, line: EventDict) -> EventDict:
    exc_info = line.pop("exc_info", None)
    if exc_info and exc_info[1] is not None:
        line["error"] = _described(exc_info)
    return line


def _described(exc_info: ExcInfo) -> str:
    """Return a traceback, which never shows the variables of its frames."""
    return scrub_text("".join(traceback.format_exception(*exc_info)).rstrip("\n"))


_JSON: Final[tuple[Processor, ...]] = (_add_error, JSONRenderer(serializer=json.dumps, default=str))


def _console() -> tuple[Processor, ...]:
    """Coloured wherever it goes, for `make up` passes it on to a terminal. NO_COLOR is heeded."""
    dim, reset = ("", "") if os.environ.get("NO_COLOR") else ("\x1b[2m", "\x1b[0m")

    def column(name: str, kind: str = "", *, named: bool = False) -> Column:
        said = repr if named else str
        return Column(name, KeyValueColumnFormatter(kind if named else None, kind, reset if kind else "", said))

    columns = [column("at", dim), column("level"), column("message"), column("", dim, named=True)]
    return _for_people, ConsoleRenderer(columns=columns, sort_keys=False, exception_formatter=_write_traceback)


def _for_people(_logger: Any, _method: str, line: EventDict) -> EventDict:
    level, at = line["level"], datetime.fromisoformat(line.pop("at")).astimezone()
    colour, reset = ("", "") if os.environ.get("NO_COLOR") else (f"\x1b[{_COLOURS.get(level, '0')}m", "\x1b[0m")
    line["at"] = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
    line["level"] = f"{colour}{level:<7}{reset}"
    line["message"] = f" {line['message'].translate(_CONTROLS)} "
    line.pop("process")
    line["logger"] = line.pop("logger")  # last
    return line


def _write_traceback(lines: Any, exc_info: ExcInfo) -> None:
    if exc_info[1] is not None:
        lines.write("\n" + _described(exc_info).translate(_CONTROLS_IN_LINES))
