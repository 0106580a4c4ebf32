"""How settings are written: durations, lists; how they are read, and how it is said that they cannot be."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import SettingsInvalid
from worker.secret_files import nothing_passed_over, secrets_folder

Comma = NoDecode  # a list written with commas in the environment, not as JSON


def _seconds(value: object) -> object:
    """Take a bare number in the environment for seconds; leave ISO 8601 to pydantic."""
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            return value
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]


def split(value: object) -> object:
    """Split ``a, b`` at its commas, and a file's lines; leave anything that is not text alone."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.replace("\n", ",").split(",") if part.strip())
    return value


class Settings(BaseSettings):
    """Fields that are read from the environment, and from files of secrets."""

    model_config = SettingsConfigDict(env_prefix="ATTRIBUTION_", frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def read(cls) -> Self:
        """Read the environment, and the files of secrets for what is not in it.

        Raises:
            SettingsInvalid: one sentence for each setting that is missing or unusable; never its value.
        """
        try:
            with nothing_passed_over():
                return cls(_secrets_dir=secrets_folder())
        except ValidationError as error:
            raise SettingsInvalid(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors(include_url=False, include_input=False):
        name = "ATTRIBUTION_" + "_".join(str(part) for part in problem["loc"][:1]).upper() if problem["loc"] else ""
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            reason = "it is required and has no default"
        sentences.append(f"{name}: {reason}." if name else f"{reason}.")
    return (
        "The settings cannot be used. " + " ".join(s.replace("..", ".") for s in sentences) + " See docs/settings.md."
    )


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
