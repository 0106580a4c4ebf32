"""What every way of deploying must agree on with the code: settings, routes, streams and times."""

from __future__ import annotations

from typing import Final

import yaml

from cli.flower import AUTH as FLOWER_AUTH
from tests.deploy.compose import ROOT
from worker.drain_keeper import STOP_SECONDS
from worker.settings import ReceiverSettings, WorkerSettings

#: Commands that run for as long as they are let, each in a container of its own.
LONG_RUNNING: Final = ("receiver", "worker", "beat", "flower")

#: Those that tell Sentry and a collector of traces what they do, if they are asked to: docs/sentry.md, docs/tracing.md.
OBSERVED: Final = ("receiver", "worker", "beat")
#: What OpenTelemetry reads.
TRACING: Final = frozenset({"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"})
#: What they are given besides a secret, whose name is `DSN`.
OBSERVING: Final = TRACING | {"ATTRIBUTION_SENTRY_ENVIRONMENT"}
DSN: Final = "ATTRIBUTION_SENTRY_DSN"


def settings_of(command: str) -> set[str]:
    """Return the variables that a command of ours reads."""
    read_by = {"receiver": ReceiverSettings}.get(command, WorkerSettings)
    settings = {f"ATTRIBUTION_{field.upper()}" for field in read_by.model_fields} | {"ATTRIBUTION_SECRETS_DIR"}
    also = {FLOWER_AUTH} if command == "flower" else TRACING if command in OBSERVED else set()
    return settings | also


def needed_by(command: str) -> set[str]:
    """Return the variables without which a command does not start, or does nothing of use."""
    needed = {
        "migrate": {"ATTRIBUTION_DATABASE_URL"},
        "receiver": {
            "ATTRIBUTION_HOST",
            "ATTRIBUTION_REDIS_URL",
            "ATTRIBUTION_EVENT_SECRETS",
            "ATTRIBUTION_MESSAGE_SECRETS",
        },
        "worker": {"ATTRIBUTION_DATABASE_URL", "ATTRIBUTION_REDIS_URL", "ATTRIBUTION_RECIPIENT_KEY"},
        "flower": {"ATTRIBUTION_DATABASE_URL", "ATTRIBUTION_REDIS_URL", FLOWER_AUTH},
    }
    return needed.get(command, {"ATTRIBUTION_DATABASE_URL", "ATTRIBUTION_REDIS_URL"})


def seconds_to_end() -> float:
    """Return the time that a worker may take to end: the longest task, then the drain's last batch."""
    from worker import celeryconfig  # reads the environment

    return float(celeryconfig.task_time_limit) + STOP_SECONDS


def receivers_routes() -> set[str]:
    """Return the paths that the receiver answers, from the document that it serves and is tested against."""
    return set(yaml.safe_load((ROOT / "worker" / "receiving" / "openapi.yaml").read_text())["paths"])
