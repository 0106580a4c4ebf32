"""What may leave for Sentry: of an event what a programmer needs, and nothing that may name a person. Pure.

What an event may hold is listed, and the rest is dropped: if a release of Sentry's library tells more, it does so in
vain.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Any, Final

from worker.telemetry.scrubbing import scrub_text

#: What is kept of an event as it is. Not among it: the request, the user, and whatever is yet to be invented.
_PLAIN: Final = frozenset(
    {
        *("event_id", "type", "timestamp", "start_timestamp", "platform", "sdk", "level", "logger"),
        *("release", "dist", "environment", "server_name", "modules", "fingerprint", "transaction_info"),
        *("measurements", "monitor_slug", "monitor_config", "check_in_id", "status", "duration"),
    }
)
#: What is kept of it, scrubbed.
_WORDED: Final = frozenset({"logentry", "message", "breadcrumbs", "contexts", "tags", "transaction"})
#: What Sentry's integrations put among the rest that repeats arguments: of tasks, and of the command line.
_DROPPED_EXTRA: Final = frozenset({"celery-job", "sys.argv"})
_KEPT_SPAN: Final = frozenset(
    {"trace_id", "span_id", "parent_span_id", "op", "origin", "status", "start_timestamp", "timestamp", "same_process"}
)
#: Whose exceptions are worded without data: ours, and those of servers and clients, which talk of connections.
_OURS: Final = ("worker", "tasks", "db", "migrations", "cli", "redis", "kombu", "amqp", "celery", "billiard")
_DATABASE: Final = ("psycopg", "sqlalchemy")
#: How `db.engine` words what PostgreSQL says of data.
_DESCRIBED: Final = re.compile(r"[^\n\"]*\([0-9A-Z]{5}\)")
_HIDDEN: Final = "(hidden)"


def clean_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event, of whatever type, without what may be confidential."""
    cleaned = {name: value for name, value in event.items() if name in _PLAIN}
    cleaned |= {name: _scrub(value) for name, value in event.items() if name in _WORDED}
    if (event.get("transaction_info") or {}).get("source") == "url":
        cleaned.pop("transaction", None)  # a path as a stranger chose it
    if "exception" in event:
        cleaned["exception"] = {"values": [_clean_exception(each) for each in event["exception"].get("values") or ()]}
    if "threads" in event:
        cleaned["threads"] = {"values": [_without_variables(each) for each in event["threads"].get("values") or ()]}
    if "extra" in event:
        told = {name: value for name, value in event["extra"].items() if name not in _DROPPED_EXTRA}
        cleaned["extra"] = _scrub(told)
    if "spans" in event:
        cleaned["spans"] = [{name: each[name] for name in _KEPT_SPAN & each.keys()} for each in event["spans"]]
    return cleaned


def clean_breadcrumb(crumb: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a log line of before the event, scrubbed; nothing of any other kind, such as requests and queries."""
    if crumb.get("type") != "log":
        return None
    cleaned: dict[str, Any] = _scrub(dict(crumb))
    return cleaned


def _clean_exception(exception: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = _without_variables(exception)
    cleaned["value"] = _clean_value(
        str(exception.get("module") or "builtins"), str(exception.get("type")), str(exception.get("value") or "")
    )
    return cleaned


def _clean_value(module: str, kind: str, value: str) -> str:
    """Return the text of an exception if it can be known to repeat nothing; Python's own quote what they refuse."""
    package = module.partition(".")[0]
    known = getattr(builtins, kind, None) if module == "builtins" else None
    if package in _OURS or (isinstance(known, type) and issubclass(known, OSError | MemoryError)):
        return scrub_text(value)
    if package in _DATABASE:
        first = value.partition("\n")[0]
        told = _DESCRIBED.fullmatch(first) or kind in ("OperationalError", "InterfaceError", "TimeoutError")
        return scrub_text(first) if told else _HIDDEN
    return _HIDDEN if value else ""


def _without_variables(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return an exception or a thread, its frames without what their variables held."""
    cleaned = dict(holder)
    trace = cleaned.get("stacktrace")
    if isinstance(trace, Mapping):
        frames = [{name: value for name, value in frame.items() if name != "vars"} for frame in trace["frames"]]
        cleaned["stacktrace"] = {**trace, "frames": frames}
    return cleaned


def _scrub(value: Any) -> Any:
    """Return a value with every text in it scrubbed; what is no plain value becomes the name of its type."""
    if isinstance(value, str):
        return scrub_text(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {scrub_text(str(name)): _scrub(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_scrub(each) for each in value]
    return f"({type(value).__name__})"
