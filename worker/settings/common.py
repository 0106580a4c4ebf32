"""Settings that the receiver and the worker share."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from worker.settings.reading import Settings

#: Where a project of Sentry's is reached: a key, a host, and the project's number.
_DSN = re.compile(r"https?://[^/@\s]+@[^/@\s]+/(?:\S+/)?\d+")


class CommonSettings(Settings):
    """What the receiver and the worker share."""

    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis that holds the streams.")
    allow_unsafe_redis: bool = Field(
        False, description="Start even if Redis may evict keys or does not persist each write before it answers."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="One JSON object a line for machines, or coloured lines for people; `auto` is for people if a"
        " terminal reads them.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    sentry_dsn: SecretStr | None = Field(
        None, description="Where errors and incidents are told, without a word of people: the DSN of a Sentry project."
    )
    sentry_environment: str = Field("production", min_length=1, max_length=64, description="What Sentry shows beside.")
    sentry_traces_percent: float = Field(
        0, ge=0, le=100, description="Share of requests and tasks whose durations are told to Sentry."
    )

    @field_validator("sentry_dsn")
    @classmethod
    def _is_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _DSN.fullmatch(value.get_secret_value()):
            raise ValueError("it is no DSN; it looks like https://KEY@sentry.example.com/42")
        return value or None

    @field_validator("redis_url", "broker_url", check_fields=False)
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("it must start with redis:// or rediss:// (TLS)")
        return value
