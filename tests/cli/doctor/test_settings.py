"""Configurations that are broken before anything is connected to."""

from __future__ import annotations

import base64
import random
import runpy
import sys
from pathlib import Path

import pytest

from cli.doctor.configuration import TASK_LIMIT, known_variables
from cli.doctor.distance import Distance, distance_of
from cli.doctor.secrets import weakness
from tests.cli.doctor.conftest import NOWHERE, Diagnose, random_secret

WORKER = {
    "recipient_key": random_secret(),
    "database_url": f"postgresql://attribution:{random_secret()}@{NOWHERE}/attribution",
}
RECEIVER = {"event_secrets": random_secret(), "message_secrets": random_secret()}
SHORT = ("settings", "secrets", "encryption")


def test_sound_settings_are_in_order(diagnose: Diagnose) -> None:
    diagnosis = diagnose(only=SHORT, flower_auth=f"operator:{random_secret()}", **WORKER, **RECEIVER)
    assert {found["level"] for found in diagnosis.document["findings"]} == {"ok"}
    assert diagnosis.document["healthy"] is True
    assert diagnosis.exit_code == 0


@pytest.mark.parametrize(
    ("check", "level", "words", "environment"),
    [
        ("settings-receiver", "failure", "shorter than 16 characters", {"event_secrets": "too-short"}),
        ("settings-receiver", "failure", "set both of ATTRIBUTION_ENTRA_TENANT_ID", {"entra_tenant_id": "a-tenant"}),
        ("settings-receiver", "failure", "anyone could post events", {"event_secrets": "", "entra_tenant_id": ""}),
        ("settings-receiver", "failure", "loopback addresses only", {"insecure": "true", "host": "0.0.0.0"}),  # noqa: S104
        ("settings-worker", "failure", "it must start with postgresql://", {"database_url": "mysql://example.com/x"}),
        ("settings-worker", "failure", "Worker and beat will not start", {"park_schedule": "soon"}),
        ("settings-unknown", "warning", "Nothing reads the variable ATTRIBUTION_CLAIM_AFTR", {"claim_aftr": "90"}),
        ("settings-insecure", "warning", "ATTRIBUTION_INSECURE is on", {"insecure": "true"}),
        ("settings-messages", "hint", "switched off", {"message_secrets": ""}),
        ("settings-unsafe-redis", "warning", "may lose what was answered 200", {"allow_unsafe_redis": "true"}),
        ("settings-claim", "warning", "a batch may take 35 s", {"claim_after": "30"}),
        ("settings-claim", "warning", "a batch may take 80 s", {"statement_timeout": "60"}),
        ("settings-statement", "warning", "interrupts a task after 45 s", {"statement_timeout": "45"}),
        ("settings-park", "failure", "before anybody looks", {"park_deadline": "60", "park_schedule": "300,600"}),
        ("settings-answer", "warning", "make 32 s, and Event Grid waits for 30 s", {"body_timeout": "15"}),
        ("settings-memory-limit", "warning", "may be full before", {"memory_limit_percent": "95"}),
        ("settings-drain", "hint", "only what beat wakes it for", {"drain_processes": "0"}),
        ("settings-archive", "hint", "nothing can be replayed", {"archive_retention": "0"}),
        ("settings-recipients", "hint", "addresses are stored as they come", {"recipients": "plain"}),
        ("secrets-strength", "failure", "ATTRIBUTION_RECIPIENT_KEY can be guessed", {"recipient_key": "0" * 32}),
        ("secrets-strength", "failure", "words that stand in examples", {"event_secrets": "changeme-changeme"}),
        ("secrets-strength", "failure", "words that stand in examples", {"message_secrets": "my-secret-password"}),
        ("secrets-strength", "failure", "it repeats itself", {"event_secrets": "aaaaaaaaaaaaaaaaaaaaaaaa"}),
        ("secrets-strength", "failure", "it repeats itself", {"event_secrets": "a1b2c3a1b2c3a1b2c3"}),
        ("secrets-strength", "failure", "too regular, or too short", {"event_secrets": "0123456789abcdefghijkl"}),
        (
            "secrets-strength",
            "failure",
            "ATTRIBUTION_WEBHOOK_SECRETS can be guessed",
            {"webhook_url": "https://hooks.example.com/", "webhook_secrets": "whsec_" + "AAAA" * 8},
        ),
        ("secrets-servers", "warning", "names no password", {"redis_url": "redis://redis.example.com:6379/0"}),
        ("secrets-servers", "warning", "can be guessed", {"database_url": "postgresql://a:postgres@db.example.com/a"}),
        ("secrets-flower", "hint", "is not set here", {"flower_auth": ""}),
        ("secrets-flower", "failure", "is not user:password", {"flower_auth": "password"}),
        ("secrets-flower", "failure", "can be guessed", {"flower_auth": "admin:admin"}),
        ("encryption-redis", "warning", "in plain text", {"redis_url": "redis://:x@redis.example.com:6379/0"}),
        ("encryption-redis", "hint", "private network", {"redis_url": "redis://:x@10.1.2.3:6379/0"}),
        ("encryption-redis", "hint", "private network", {"broker_url": "redis://:x@redis:6379/0"}),
        ("encryption-redis", "warning", "Celery trusts any", {"redis_url": "rediss://:x@redis.example.com:6380/0"}),
        ("encryption-database", "warning", "in plain text", {"database_url": "postgresql://a:b@db.example.com/a"}),
        ("encryption-database", "hint", "private network", {"database_url": "postgresql://a:b@127.0.0.1,db:5432/a"}),
        (
            "encryption-database",
            "hint",
            "trusts any certificate",
            {"database_url": "postgresql://a:b@db.example.com/a?sslmode=require"},
        ),
    ],
)  # fmt: skip
def test_a_broken_setting_is_found(
    check: str, level: str, words: str, environment: dict[str, str], diagnose: Diagnose
) -> None:
    diagnosis = diagnose(only=check, **{"flower_auth": "operator:x", **WORKER, **RECEIVER, **environment})
    (found,) = diagnosis.of(check)
    assert found[0] == level
    assert words in found[1]
    assert found[2], "it says what to do"
    assert diagnosis.exit_code == (level == "failure")
    for value in environment.values():
        assert "x@" not in diagnosis.text
        if len(value) > 8 and check.startswith(("secrets", "encryption")):
            assert value not in diagnosis.text


def test_what_is_encrypted_and_verified_is_in_order(diagnose: Diagnose) -> None:
    diagnosis = diagnose(
        only="encryption",
        redis_url="rediss://:x@redis.example.com:6380/0?ssl_cert_reqs=required",
        database_url="postgresql://a:b@db.example.com/a?sslmode=verify-full",
    )
    assert [diagnosis.one(check)[0] for check in ("encryption-redis", "encryption-database")] == ["ok", "ok"]


def test_one_secret_for_two_doors_or_for_a_server_is_found_without_being_told(diagnose: Diagnose) -> None:
    secret = random_secret()
    both = diagnose(only="secrets-shared", event_secrets=f"{random_secret()},{secret}", message_secrets=secret)
    assert "ATTRIBUTION_EVENT_SECRETS and ATTRIBUTION_MESSAGE_SECRETS" in both.one("secrets-shared")[1]
    server = diagnose(
        only="secrets-shared", event_secrets=secret, database_url=f"postgresql://attribution:{secret}@{NOWHERE}/a"
    )
    assert "ATTRIBUTION_EVENT_SECRETS and the password in ATTRIBUTION_DATABASE_URL" in server.one("secrets-shared")[1]
    assert secret not in both.text + server.text
    fine = diagnose(
        only="secrets-shared",
        event_secrets=random_secret(),
        redis_url=f"redis://:{secret}@{NOWHERE}/0",
        broker_url=f"redis://:{secret}@{NOWHERE}/1",
        **WORKER,
    )
    assert fine.one("secrets-shared")[0] == "ok", "a server that is named twice is one"


def test_a_receivers_host_and_a_workers_each_say_what_they_cannot_see(diagnose: Diagnose) -> None:
    receiver = diagnose(only=("settings", "database"), **RECEIVER)
    assert receiver.one("settings-receiver")[0] == "ok"
    assert receiver.one("settings-worker")[:2] == (
        "hint",
        "No worker is configured here, for ATTRIBUTION_DATABASE_URL is not set: PostgreSQL, and what is stored in it,"
        " was not looked at.",
    )
    assert receiver.one("database-reachable") == ("skipped", "the worker's settings are not here", "")
    assert receiver.exit_code == 0
    worker = diagnose(only="settings", **WORKER)
    assert worker.one("settings-receiver")[0] == "hint"
    assert worker.one("settings-insecure") == ("skipped", "the receiver's settings are not here", "")
    assert worker.exit_code == 0
    neither = diagnose(only="settings")
    assert neither.one("settings-worker")[:2] == ("failure", "Neither a receiver nor a worker is configured here.")
    assert neither.exit_code == 1


def test_a_misspelt_variable_is_told_the_nearest_name(diagnose: Diagnose) -> None:
    diagnosis = diagnose(only="settings-unknown", redis_ulr="x", sweep_intervall="2", nothing_like_it="1", **WORKER)
    fixes = [fix for _, _, fix in diagnosis.of("settings-unknown")]
    assert fixes == [
        "docs/settings.md lists what there is. Else remove it.",
        "Perhaps ATTRIBUTION_REDIS_URL is meant. Else remove it.",
        "Perhaps ATTRIBUTION_SWEEP_INTERVAL is meant. Else remove it.",
    ]


def test_settings_in_files_are_judged_like_those_in_the_environment(tmp_path: Path, diagnose: Diagnose) -> None:
    (tmp_path / "attribution_event_secrets").write_text("changeme-changeme\n")
    (tmp_path / "attribution_flower_auth").write_text("admin:admin\n")
    (tmp_path / "attribution_databse_url").write_text("postgresql://a:b@db.example.com/a\n")
    diagnosis = diagnose(only=("settings", "secrets"), secrets_dir=tmp_path, **WORKER)
    assert [check for check, level, _ in diagnosis.bad() if level == "failure"] == [
        "secrets-strength",
        "secrets-flower",
    ]
    level, sentence, fix = diagnosis.one("settings-unknown")
    assert (level, fix) == ("warning", "Perhaps ATTRIBUTION_DATABASE_URL is meant. Else remove it.")
    assert sentence.startswith("Nothing reads the file attribution_databse_url")
    gone = diagnose(only="settings", secrets_dir=tmp_path / "gone", **WORKER)
    assert gone.one("settings-worker")[0] == "failure"
    assert "which is no folder" in gone.one("settings-worker")[1]


@pytest.mark.parametrize("length", [12, 16, 24, 32])
def test_no_random_secret_is_called_weak(length: int) -> None:
    seeded = random.Random(length)
    for _ in range(2000):
        for secret in (seeded.randbytes(length).hex(), base64.b64encode(seeded.randbytes(length)).decode()):
            assert weakness(secret) is None, secret


@pytest.mark.parametrize(
    "secret",
    ["changeme", "P@ssw0rd1234567890", "qwertyuiopasdf", "event-secret-of-the-tests", "hunter2hunter2hunter2",
     "abcdefghijklmnopqrst", "1234567890123456", "zzzzzzzzzzzzzzzz", "Secret2024Secret2024", "default-secret-1"],
)  # fmt: skip
def test_what_people_write_meaning_to_change_it_is_called_weak(secret: str) -> None:
    assert weakness(secret)


def test_the_limit_of_tasks_is_that_of_celerys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", WORKER["database_url"])
    monkeypatch.delitem(sys.modules, "worker.celeryconfig", raising=False)  # another test's settings
    assert runpy.run_module("worker.celeryconfig")["task_soft_time_limit"] == TASK_LIMIT.total_seconds()


def test_every_setting_is_a_variable_that_is_known() -> None:
    assert {"ATTRIBUTION_DATABASE_URL", "ATTRIBUTION_EVENT_SECRETS", "ATTRIBUTION_FLOWER_AUTH"} <= {*known_variables()}


@pytest.mark.parametrize(
    ("host", "distance"),
    [
        ("", Distance.HERE),
        ("/var/run/postgresql", Distance.HERE),
        ("localhost:6379", Distance.HERE),
        ("127.0.0.3:6379", Distance.HERE),
        ("[::1]:6379", Distance.HERE),
        ("redis:6379", Distance.NETWORK),
        ("redis.default.svc.cluster.local", Distance.NETWORK),
        ("192.168.1.4:5432", Distance.NETWORK),
        ("[fd00::1]:5432", Distance.NETWORK),
        ("redis.example.com:6380", Distance.WORLD),
        ("8.8.8.8", Distance.WORLD),
    ],
)
def test_how_far_away_a_server_is(host: str, distance: Distance) -> None:
    assert distance_of(host) is distance
