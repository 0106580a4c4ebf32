"""Log lines: one JSON object each for machines, or coloured for people.

Nothing confidential is handed to a logger anywhere, so nothing is redacted here. Python's own escaping of control characters
in JSON, and of markup in the console, keeps a log line from being two.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logs(log_format: Literal["json", "console"], level: str) -> None:
    """Send all logging to standard error, in one format. Doing it again replaces what was set."""
    handler: logging.Handler
    if log_format == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(_JsonLine())
    else:
        console = Console(stderr=True, soft_wrap=True)
        handler = RichHandler(console=console, show_path=False, markup=False, highlighter=NullHighlighter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
