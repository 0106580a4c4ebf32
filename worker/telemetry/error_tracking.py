"""Errors and incidents to Sentry, or to anything that speaks its protocol; off unless ATTRIBUTION_SENTRY_DSN is set.

Every process starts it for itself. What leaves is cleaned by `worker.telemetry.error_events`, and bounded: a fault that
comes back each second is told once a minute by each process, an incident once an hour by all of them. docs/sentry.md
tells an operator, docs/adr/0031-logs-and-sentry.md why it is so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from worker.settings import CommonSettings
from worker.streams import TOLD
from worker.telemetry.error_events import clean_breadcrumb, clean_event
from worker.version import version

_log = logging.getLogger(__name__)

#: Seconds after which a process tells the same fault again.
FAULT_SECONDS: Final = 60.0
#: Seconds after which an incident of one kind is told again, by whichever process.
INCIDENT_SECONDS: Final = 3600
#: Most faults that are remembered; a process with more has worse troubles.
_MOST_FAULTS: Final = 1000
#: Seconds that Redis has to say who may tell.
_ANSWER_SECONDS: Final = 2

_lock = threading.Lock()
_faults: dict[str, float] = {}
_incidents: dict[str, float] = {}
_redis_url: str | None = None


def start_error_tracking(settings: CommonSettings, program: str, integrations: Sequence[Any] = ()) -> bool:
    """Have this process, and those forked from it, tell its errors; return whether it does.

    ``program`` is what it is: receiver, worker, drain, beat. ``integrations`` are those of its libraries. Without a DSN
    nothing is imported, and nothing is told.
    """
    global _redis_url
    if settings.sentry_dsn is None:
        return False
    import sentry_sdk  # noqa: PLC0415 - the receiver stays thin for those who do without
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        release=f"engagement-attribution@{version()}",
        environment=settings.sentry_environment,
        # Named one by one: others note URLs, commands and queries as they pass.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            LoggingIntegration(level=logging.INFO, event_level=logging.ERROR),
            ThreadingIntegration(propagate_scope=False),
            *integrations,
        ],
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=30,
        traces_sample_rate=settings.sentry_traces_percent / 100 or None,
        trace_propagation_targets=[],
        before_send=_before_send,
        before_send_transaction=_clean,
        before_breadcrumb=lambda crumb, _hint: clean_breadcrumb(crumb),
    )
    sentry_sdk.get_global_scope().set_tag("program", program)
    _redis_url = settings.redis_url.get_secret_value()
    return True


def report(kind: str, sentence: str, *, counts: Mapping[str, float]) -> None:
    """Tell an incident: one event for all of a ``kind``, once an hour at most, whichever process finds it.

    ``kind`` is a word out of few, by which events are grouped; ``sentence`` says what it means, ``counts`` how much of
    it there is. Returns at once: it may be called while a transaction is open.
    """
    if _redis_url is None:
        return
    now = time.monotonic()
    with _lock:
        if now < _incidents.get(kind, 0.0):
            return
        _incidents[kind] = now + INCIDENT_SECONDS / 60  # who was not the first asks again in a minute
    thread = threading.Thread(target=_report, args=(kind, sentence, dict(counts)), name="reporter", daemon=True)
    with suppress(RuntimeError):  # no thread is to be had: what we are called from must not fail for that
        thread.start()


def _report(kind: str, sentence: str, counts: dict[str, float]) -> None:
    import sentry_sdk  # noqa: PLC0415 - it is there, or nobody would have come here

    if not is_first(f"incident:{kind}", INCIDENT_SECONDS):
        return
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["attribution", kind]
        scope.set_tag("incident", kind)
        scope.set_context("counts", counts)
        sentry_sdk.capture_message(sentence, level="error")


def is_first(what: str, seconds: int) -> bool:
    """Tell whether no process has asked this of ``what`` for so many ``seconds``; yes, if Redis is away."""
    if _redis_url is None:
        return False
    with (
        suppress(RedisError),
        redis.Redis.from_url(
            _redis_url, protocol=2, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
        ) as client,
    ):
        return bool(client.set(TOLD + what, b"", nx=True, ex=seconds))
    return True


def _clean(event: Any, _hint: Mapping[str, Any]) -> Any:
    return clean_event(event)


def _before_send(event: Any, hint: Mapping[str, Any]) -> Any:
    """Clean an event, or drop it: as the same fault again, or as an incident that is told by `report`."""
    record: logging.LogRecord | None = hint.get("log_record")
    if record is not None and hasattr(record, "incident"):
        return None
    name = _name_of(event, record)
    if name is not None and not _is_due(name):
        return None
    return clean_event(event)


def _name_of(event: Mapping[str, Any], record: logging.LogRecord | None) -> str | None:
    """Return what makes two events the same fault: the place in our code that speaks, or that failed."""
    values = (event.get("exception") or {}).get("values") or ()
    if values:
        frames = (values[-1].get("stacktrace") or {}).get("frames") or [{}]
        return f"{values[-1].get('type')} {frames[-1].get('filename')} {frames[-1].get('lineno')}"
    return f"{record.name} {record.msg}" if record is not None else None


def _is_due(name: str) -> bool:
    now = time.monotonic()
    with _lock:
        if now < _faults.get(name, 0.0):
            return False
        if len(_faults) >= _MOST_FAULTS:
            _faults.clear()
        _faults[name] = now + FAULT_SECONDS
    return True
