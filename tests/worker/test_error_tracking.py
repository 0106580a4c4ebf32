"""What leaves for Sentry, and how seldom: real processes, and a server that keeps every byte."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sentry_sdk.utils import Dsn

from tests.acceptance.programs import ROOT
from tests.sentry_server import SentryServer, sentry_server, words_of
from worker.errors import SettingsInvalid
from worker.settings import CommonSettings
from worker.telemetry import error_tracking
from worker.telemetry.error_tracking import report, start_error_tracking
from worker.version import version

HIDDEN = "(hidden)"
MARK = "ada.l0velace"


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with sentry_server() as server:
        yield server


def go_wrong(sentry: SentryServer, fault: str, redis_url: str = "redis://127.0.0.1:1/0") -> list[dict[str, Any]]:
    """Run a program in which something goes wrong; return what it told."""
    environment = {
        "PATH": os.environ["PATH"],
        "ATTRIBUTION_SENTRY_DSN": sentry.dsn,
        "ATTRIBUTION_SENTRY_ENVIRONMENT": "staging",
        "ATTRIBUTION_REDIS_URL": redis_url,
    }
    command = [sys.executable, "-m", "tests.worker.faulty_program", fault, MARK]
    subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=50, capture_output=True)
    assert MARK not in sentry.text()
    return sentry.events()


def test_a_logged_exception_is_told_without_what_it_repeats(sentry: SentryServer) -> None:
    (event,) = go_wrong(sentry, "logged_exception")
    (exception,) = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("Quoting", HIDDEN)
    assert [frame["function"] for frame in exception["stacktrace"]["frames"]] == ["logged_exception", "fail"]
    assert words_of(event) == "it failed for [address]"
    assert event["extra"]["detail"] == "DETAIL: [hidden]"
    (crumb,) = event["breadcrumbs"]["values"]
    assert crumb["message"] == "before it, to [address]"
    assert (event["release"], event["environment"]) == (f"engagement-attribution@{version()}", "staging")
    assert event["tags"]["program"] == "faulty"
    assert event["server_name"]


@pytest.mark.parametrize("fault", ["uncaught", "in_thread"])
def test_what_nobody_catches_is_told(sentry: SentryServer, fault: str) -> None:
    (event,) = go_wrong(sentry, fault)
    (exception,) = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("Quoting", HIDDEN)
    assert "vars" not in str(exception["stacktrace"])


def test_the_same_fault_is_told_once_a_minute(sentry: SentryServer) -> None:
    events = go_wrong(sentry, "again_and_again")
    assert sorted(words_of(event).partition(" (")[0] for event in events) == [
        "a batch was not finished", "it failed", "something else",
    ]  # fmt: skip


def test_an_incident_is_told_once_an_hour_by_all_processes_together(sentry: SentryServer, redis_url: str) -> None:
    go_wrong(sentry, "incidents", redis_url)
    events = {event["tags"]["incident"]: event for event in go_wrong(sentry, "incidents", redis_url)}
    assert len(sentry.events()) == 2
    assert events["keys_disagree"]["fingerprint"] == ["attribution", "keys_disagree"]
    assert events["keys_disagree"]["contexts"]["counts"] == {"clicks": 0}
    assert words_of(events["population"]) == "few messages have an id"


def test_with_redis_away_an_incident_is_told_all_the_same(sentry: SentryServer) -> None:
    assert {event["tags"]["incident"] for event in go_wrong(sentry, "incidents")} == {"keys_disagree", "population"}


def test_without_a_dsn_there_is_nothing() -> None:
    program = (
        "import sys; from worker.telemetry.error_tracking import *; from worker.settings import *\n"
        "assert start_error_tracking(CommonSettings.read(), 'x') is False\n"
        "report('kind', 'sentence', counts={}); assert not is_first('x', 1)\n"
        "assert 'sentry_sdk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=True)


@pytest.mark.parametrize("dsn", ["https://secret@", "https://secret@host/project", "host/42", "ftp://secret@host/42"])
def test_what_is_no_dsn_is_refused_in_a_sentence_that_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    monkeypatch.setenv("ATTRIBUTION_SENTRY_DSN", dsn)
    with pytest.raises(SettingsInvalid, match="ATTRIBUTION_SENTRY_DSN: it is no DSN") as refused:
        CommonSettings.read()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("dsn", ["https://key@sentry.example.com/42", "http://key:pass@127.0.0.1:9000/sub/path/1"])
def test_a_dsn_may_lead_anywhere(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv("ATTRIBUTION_SENTRY_DSN", dsn)
    settings = CommonSettings.read()
    assert settings.sentry_dsn
    assert Dsn(settings.sentry_dsn.get_secret_value()).project_id


def test_an_empty_dsn_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_SENTRY_DSN", "")
    assert CommonSettings.read().sentry_dsn is None
    assert start_error_tracking(CommonSettings.read(), "x") is False
    report("kind", "nobody hears it", counts={})


def test_an_incident_that_cannot_be_told_for_want_of_a_thread_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(error_tracking, "_redis_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(error_tracking, "_incidents", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)
    report("keys_disagree", "two keys disagree", counts={"clicks": 1})
