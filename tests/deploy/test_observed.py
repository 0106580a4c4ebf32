"""Sentry and traces: every way of deploying passes them on to the same programs, off until somebody asks for them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.deploy import test_kubernetes as kubernetes
from tests.deploy.bicep import container_of, if_empty, parsed, resources, secrets_of
from tests.deploy.compose import OURS, ROOT, SERVICES, interpolated
from tests.deploy.expected import DSN, OBSERVED, OBSERVING, TRACING
from tests.deploy.test_compose import made_secrets
from tests.deploy.test_dockerfile import pinned
from worker.settings import CommonSettings, ReceiverSettings, WorkerSettings
from worker.telemetry import tracing
from worker.telemetry.error_tracking import start_error_tracking

LITERALS = dict(
    literal.split("=", 1)
    for generated in kubernetes.KUSTOMIZATION["configMapGenerator"]
    for literal in generated["literals"]
)


def of_compose(name: str) -> dict[str, str]:
    """Return what a service finds in its environment where .env says nothing."""
    return {variable: interpolated(value) for variable, value in SERVICES[name].get("environment", {}).items()}


def test_compose_passes_them_on_to_those_who_tell() -> None:
    assert {name for name in OURS if set(of_compose(name)) >= OBSERVING} == set(OBSERVED)
    assert {name for name in OURS if OBSERVING & set(of_compose(name))} == set(OBSERVED)
    assert {name for name in OURS if DSN.lower() in SERVICES[name]["secrets"]} == set(OBSERVED)


def test_kubernetes_passes_them_on_to_those_who_tell() -> None:
    assert set(LITERALS) >= OBSERVING
    assert {name for name in kubernetes.WORKLOADS if DSN in kubernetes.secrets_of(name)["may"]} == set(OBSERVED)


def test_azure_passes_them_on_to_those_who_tell() -> None:
    apps = resources("Microsoft.App/containerApps")
    for name, app in apps.items():
        variables = container_of(app)["env"]
        if name not in OBSERVED:
            assert isinstance(variables, list)
            assert "sentry-dsn" not in secrets_of(app)
            continue
        assert list(variables["function"]["parameters"].values())[1:] == ["sentryVariables", "chosen"]
        used = parsed(f"modules/{name}.bicep")["variables"]["sentryVariables"]["value"]
        assert if_empty(used) == ("sentryDsn", [], [{"name": DSN, "secretRef": "sentry-dsn"}])
        assert if_empty(secrets_of(app)["sentry-dsn"]) == ("sentryDsn", "none", "sentryDsn")
    always, traced, site = parsed("main.bicep")["variables"]["chosen"]["value"]["function"]["parameters"].values()
    assert set(always) == OBSERVING - TRACING
    asked, without, given = if_empty(traced)
    assert (asked, without) == ("otlpEndpoint", {})
    assert set(given) == TRACING
    assert given["OTEL_TRACES_SAMPLER"] == LITERALS["OTEL_TRACES_SAMPLER"]
    assert site == "settings"  # last, so that it wins


@pytest.fixture(params=["compose", "kubernetes"])
def untouched(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a deployment in which nobody has asked for anything."""
    given = of_compose("worker") if request.param == "compose" else LITERALS
    for variable in OBSERVING:
        monkeypatch.setenv(variable, given[variable])
    made_secrets(tmp_path)
    monkeypatch.setenv("ATTRIBUTION_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv(DSN, raising=False)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("kind", [ReceiverSettings, WorkerSettings])
def test_until_somebody_asks_nobody_is_told_and_nothing_is_said(
    kind: type[CommonSettings], caplog: pytest.LogCaptureFixture
) -> None:
    settings = kind.read()
    assert settings.sentry_environment == "production"
    with caplog.at_level(logging.DEBUG):
        assert start_error_tracking(settings, "worker") is False
        assert tracing.start_tracing("worker") is False
    assert caplog.records == []


@pytest.mark.usefixtures("untouched")
def test_who_names_a_collector_has_one_request_in_a_hundred_traced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert tracing.start_tracing("worker") is True
        try:
            assert tracing._provider is not None
            assert "TraceIdRatioBased{0.01}" in tracing._provider.sampler.get_description()
        finally:
            tracing.stop_tracing()
    assert caplog.records == []


def test_a_dsn_that_is_given_later_fills_its_file_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DSN, raising=False)
    before = made_secrets(tmp_path)
    assert before[DSN.lower()] == ""
    dsn = "https://key@sentry.example.com/42"
    monkeypatch.setenv(DSN, dsn)
    assert made_secrets(tmp_path) == before | {DSN.lower(): dsn}
    monkeypatch.setenv(DSN, "https://other@sentry.example.com/43")
    assert made_secrets(tmp_path)[DSN.lower()] == dsn
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o444}


def test_the_image_has_what_they_need() -> None:
    assert {"sentry-sdk", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= pinned(
        ROOT / "requirements.lock"
    )
