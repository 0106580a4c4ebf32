"""The way from Azure to a real receiver, through a proxy that spoils it in each of the ways proxies do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.doctor import calling
from tests.cli.doctor.conftest import Diagnose, Diagnosis
from tests.cli.doctor.proxy import proxy
from tests.worker.certificates import write_certificate
from tests.worker.conftest import serve as serve
from tests.worker.receiving import EVENT_SECRET, OLD_EVENT_SECRET, ServeReceiver
from worker.streams import EVENTS

BY_CODE = "handshake-eventgrid"


@pytest.fixture
def front(serve: ServeReceiver, redis_url: str) -> Iterator[Any]:
    """A proxy in front of a receiver."""
    with proxy(serve(redis_url).port) as server:
        yield server


def look(diagnose: Diagnose, port: int, path: str = "/eventgrid", **settings: Any) -> Diagnosis:
    defaults = {"event_secrets": f"{EVENT_SECRET},{OLD_EVENT_SECRET}"}
    return diagnose(f"--url=http://127.0.0.1:{port}{path}", only="handshake", **(defaults | settings))


def test_a_receiver_behind_a_proxy_that_does_its_work_is_in_order(
    front: Any, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    diagnosis = look(diagnose, front.server_port)
    assert diagnosis.bad() == []
    assert diagnosis.one("handshake-address")[0] == "hint", "it is not public"
    assert not redis_client.exists(EVENTS), "no event is made up"
    assert EVENT_SECRET not in diagnosis.text
    assert "127.0.0.1" not in diagnosis.text


@pytest.mark.parametrize(
    ("mood", "check", "level", "words"),
    [
        ("login", BY_CODE, "failure", "answered 401: something in front of the receiver asks who is there"),
        ("accept", BY_CODE, "failure", "answered 403: something in front of the receiver refuses it"),
        ("redirect", BY_CODE, "failure", "answered 301, which leads elsewhere, and Event Grid follows no redirect"),
        ("accepted", BY_CODE, "failure", "answered 202, and Event Grid takes 200 alone"),
        ("cached", BY_CODE, "failure", "answered with another code than was sent"),
        ("aeg", BY_CODE, "failure", "takes off the header `aeg-event-type`"),
        ("hangs-up", BY_CODE, "failure", "The public address breaks off"),
        ("slow", BY_CODE, "failure", "The public address does not answer in time"),
        ("headers", "handshake-header", "warning", "takes off headers that it does not know"),
        ("options", "handshake-cloudevents", "warning", "OPTIONS is answered 204, which grants nothing"),
        ("cors", "handshake-cloudevents", "warning", "answered 200 without WebHook-Allowed-Origin"),
        ("small", "handshake-body", "failure", "A body of 1,500,000 bytes is answered 413"),
        ("adds-secret", "handshake-stranger", "failure", "granted without any secret"),
        ("as-it-is", "handshake-metrics", "warning", "/metrics is open to whoever knows the public address"),
    ],
)
def test_what_a_proxy_does_to_requests_is_found(
    mood: str, check: str, level: str, words: str,
    front: Any, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(calling, "_STEP_SECONDS", 1 if mood == "slow" else 10)
    front.mood, front.secret = mood, EVENT_SECRET
    diagnosis = look(diagnose, front.server_port)
    found = diagnosis.one(check)
    assert found[0] == level
    assert words in found[1]
    assert found[2]
    assert diagnosis.exit_code == (level == "failure")


@pytest.mark.parametrize(
    ("path", "settings", "level", "words"),
    [
        ("/eventgrid", {"event_secrets": "a0f2b4c6d8e1937551"}, "failure", "answered 404: the receiver does not know"),
        ("/eventgrid?code=wrong", {}, "failure", "answered 404: the receiver does not know the secret"),
        ("/eventgrid?code=" + EVENT_SECRET, {"event_secrets": "a0f2b4c6d8e1937551"}, "ok", ""),
        ("/no/such/path/eventgrid", {}, "failure", "or the proxy not the path"),
        (
            "/eventgrid", {"event_secrets": f"{EVENT_SECRET},a0f2b4c6d8e1937551"}, "warning",
            "1 of 2 secrets of ATTRIBUTION_EVENT_SECRETS are not taken by the receivers that run",
        ),
        (
            "/eventgrid", {"event_secrets": "", "entra_tenant_id": "t", "entra_audience": "a"}, "skipped",
            "takes tokens of Entra alone",
        ),
    ],
    ids=["secret", "code", "own-code", "path", "not-restarted", "entra"],
)  # fmt: skip
def test_which_secret_is_taken_is_told(
    path: str, settings: dict[str, Any], level: str, words: str, front: Any, diagnose: Diagnose
) -> None:
    diagnosis = look(diagnose, front.server_port, path, **settings)
    found = diagnosis.one(BY_CODE)
    assert found[0] == level
    assert words in found[1]
    assert "a0f2b4c6d8e1937551" not in diagnosis.text


def test_a_receiver_that_takes_anybody_is_found_and_sent_no_large_body(
    serve: ServeReceiver, redis_url: str, redis_client: redis.Redis, diagnose: Diagnose
) -> None:
    port = serve(redis_url, insecure=True).port
    diagnosis = look(diagnose, port)
    assert diagnosis.one("handshake-stranger")[0] == "failure"
    assert diagnosis.one("handshake-body")[:2] == ("skipped", "strangers are let in, and it would be stored")
    assert not redis_client.exists(EVENTS)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1:1/eventgrid", "leads to a port where nothing listens"),
        ("https://no-such-host.invalid/eventgrid", "a host whose name cannot be resolved"),
        ("https://127.0.0.1:99999/eventgrid", "The public address is none"),
        ("events.example.com/eventgrid", "The public address is none"),
    ],
)
def test_an_address_that_leads_nowhere_is_found(url: str, words: str, diagnose: Diagnose) -> None:
    diagnosis = diagnose(f"--url={url}", only="handshake", event_secrets=EVENT_SECRET)
    level, sentence, fix = diagnosis.one("handshake-reachable")
    assert level == "failure"
    assert words in sentence
    assert fix
    assert diagnosis.one(BY_CODE)[:2] == ("skipped", "the public address cannot be reached")


def test_an_address_that_is_not_for_event_grid_is_found(diagnose: Diagnose) -> None:
    diagnosis = diagnose("--url=http://192.0.2.1:1/", only="handshake-address", event_secrets=EVENT_SECRET)
    assert [found[:2] for found in diagnosis.of("handshake-address")] == [
        (
            "failure",
            "The public address begins with http://: Event Grid calls nothing but https://, and the secret can be read"
            " along.",
        ),
        ("warning", "The public address does not end in /eventgrid, where the receiver takes events."),
    ]


@pytest.mark.parametrize(
    ("lifetime", "host", "trusted", "check", "level", "words"),
    [
        (timedelta(days=60), "127.0.0.1", True, "handshake-certificate", "ok", "lasts for 60 days more"),
        (timedelta(days=9), "127.0.0.1", True, "handshake-certificate", "warning", "ends in 9 days"),
        (timedelta(hours=5), "127.0.0.1", True, "handshake-certificate", "failure", "ends in 5 hours"),
        (timedelta(hours=-5), "127.0.0.1", True, "handshake-reachable", "failure", "its certificate has expired"),
        (timedelta(days=60), "127.0.0.1", False, "handshake-reachable", "failure", "is signed by nobody but itself"),
        (timedelta(days=60), "localhost", True, "handshake-reachable", "failure", "is for another name"),
    ],
    ids=["sound", "ending", "urgent", "expired", "self-signed", "other-name"],
)  # fmt: skip
def test_what_is_wrong_with_a_certificate_is_told(
    lifetime: timedelta, host: str, trusted: bool, check: str, level: str, words: str,
    serve: ServeReceiver, redis_url: str, tmp_path: Path, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Half a unit more: it is read a moment later.
    files = write_certificate(tmp_path, ends_at=datetime.now(UTC) + lifetime + timedelta(minutes=10))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with proxy(serve(redis_url).port, files) as front:
        diagnosis = diagnose(
            f"--url=https://{host}:{front.server_port}/eventgrid",
            only="handshake",
            event_secrets=f"{EVENT_SECRET},{OLD_EVENT_SECRET}",
        )
    found = diagnosis.one(check)
    assert found[0] == level
    assert words in found[1]
    if level == "ok":
        assert diagnosis.bad() == []


def test_tls_where_there_is_none_is_found(front: Any, diagnose: Diagnose) -> None:
    diagnosis = diagnose(
        f"--url=https://127.0.0.1:{front.server_port}/eventgrid", only="handshake", event_secrets=EVENT_SECRET
    )
    level, sentence, _ = diagnosis.one("handshake-reachable")
    assert (level, sentence) == ("failure", "The public address does not speak TLS of today, or none at all.")
