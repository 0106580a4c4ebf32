"""Settings: read once, frozen, and refused in sentences that never repeat a value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from worker.errors import SettingsInvalid
from worker.settings import ReceiverSettings, WorkerSettings

SECRET = "0123456789abcdef"
DATABASE = "postgresql://user:hunter2@db.example.com/attribution"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = {"webhook_url": "https://hooks.example.com/x", "webhook_secrets": WEBHOOK_SECRET}


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"ATTRIBUTION_{name.upper()}", value)


def test_the_receiver_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, event_secrets=f"{SECRET}, {SECRET}2")
    settings = ReceiverSettings.read()
    assert [secret.get_secret_value() for secret in settings.event_secrets] == [SECRET, f"{SECRET}2"]


def test_settings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, database_url=DATABASE)
    settings = WorkerSettings.read()
    with pytest.raises(ValidationError):
        settings.drain_processes = 5  # type: ignore[misc]


def test_durations_are_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, database_url=DATABASE, claim_after="90", park_schedule="1.5, 60,PT2H", park_deadline="P3D")
    settings = WorkerSettings.read()
    assert settings.claim_after == timedelta(seconds=90)
    assert settings.park_schedule == (timedelta(seconds=1.5), timedelta(minutes=1), timedelta(hours=2))
    assert settings.park_deadline == timedelta(days=3)


def test_the_default_schedule_is_the_documented_one(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, database_url=DATABASE)
    waits = [wait.total_seconds() for wait in WorkerSettings.read().park_schedule]
    assert waits == [5, 15, 60, 300, 900, 3600, 21600]


@pytest.mark.parametrize(
    ("settings", "values", "sentence"),
    [
        (WorkerSettings, {}, "ATTRIBUTION_DATABASE_URL: it is required"),
        (WorkerSettings, {"database_url": "mysql://user:hunter2@x"}, "must start with postgresql://"),
        (WorkerSettings, {"database_url": DATABASE, "redis_url": "http://hunter2"}, "must start with redis://"),
        (WorkerSettings, {"database_url": DATABASE, "park_schedule": ""}, "at least one wait"),
        (WorkerSettings, {"database_url": DATABASE, "park_schedule": "5,0"}, "longer than zero"),
        (WorkerSettings, {"database_url": DATABASE, "claim_after": "soon"}, "ATTRIBUTION_CLAIM_AFTER"),
        (WorkerSettings, {"database_url": DATABASE, "claim_after": "0"}, "ATTRIBUTION_CLAIM_AFTER"),
        (WorkerSettings, {"database_url": DATABASE, "sweep_interval": "-2"}, "ATTRIBUTION_SWEEP_INTERVAL"),
        (WorkerSettings, {"database_url": DATABASE, "drain_processes": "-1"}, "ATTRIBUTION_DRAIN_PROCESSES"),
        (WorkerSettings, {"database_url": DATABASE, **WEBHOOK, "webhook_url": "hunter2"}, "it is no URL"),
        (WorkerSettings, {"database_url": DATABASE, **WEBHOOK, "webhook_url": "http://x/hunter2"}, "https://"),
        (WorkerSettings, {"database_url": DATABASE, **WEBHOOK, "webhook_url": "ftp://127.0.0.1/hunter2"}, "no URL"),
        (WorkerSettings, {"database_url": DATABASE, **WEBHOOK, "webhook_secrets": ""}, "must be signed"),
        (WorkerSettings, {"database_url": DATABASE, "webhook_secrets": "hunter2"}, "each secret is whsec_"),
        (WorkerSettings, {"database_url": DATABASE, "webhook_secrets": f"{WEBHOOK_SECRET},whsec_hunter2"}, "24 to 64"),
        (WorkerSettings, {"database_url": DATABASE, "webhook_secrets": f"{WEBHOOK_SECRET}*hunter2"}, "base64"),
        (ReceiverSettings, {}, "anyone could post events"),
        (ReceiverSettings, {"event_secrets": "hunter2"}, "shorter than 16 characters"),
        (ReceiverSettings, {"insecure": "true", "host": "0.0.0.0"}, "loopback"),  # noqa: S104
        (ReceiverSettings, {"event_secrets": SECRET, "entra_tenant_id": "t"}, "ATTRIBUTION_ENTRA_AUDIENCE"),
        (ReceiverSettings, {"event_secrets": SECRET, "body_limit_bytes": "10"}, "ATTRIBUTION_BODY_LIMIT_BYTES"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, settings: Any, values: dict[str, str], sentence: str
) -> None:
    environment(monkeypatch, **values)
    with pytest.raises(SettingsInvalid) as refused:
        settings.read()
    assert sentence in str(refused.value)
    assert "docs/settings.md" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_several_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, drain_processes="many", max_deliveries="0")
    with pytest.raises(SettingsInvalid) as refused:
        WorkerSettings.read()
    for name in ("DATABASE_URL", "DRAIN_PROCESSES", "MAX_DELIVERIES"):
        assert f"ATTRIBUTION_{name}" in str(refused.value)


def test_insecure_is_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, insecure="true", host="127.0.0.1")
    assert ReceiverSettings.read().insecure


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, database_url=DATABASE, event_secrets=SECRET)
    assert "hunter2" not in repr(WorkerSettings.read())
    assert SECRET not in repr(ReceiverSettings.read())
    environment(monkeypatch, **WEBHOOK | {"webhook_url": "https://hooks.example.com/hunter2"})
    assert "hunter2" not in repr(WorkerSettings.read())
    assert WEBHOOK_SECRET not in repr(WorkerSettings.read())


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://[::1]/hook", "http://localhost/hook"])
def test_a_webhook_without_tls_is_for_loopback(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    environment(monkeypatch, database_url=DATABASE, **WEBHOOK | {"webhook_url": url})
    webhook_url = WorkerSettings.read().webhook_url
    assert webhook_url is not None
    assert webhook_url.get_secret_value() == url
