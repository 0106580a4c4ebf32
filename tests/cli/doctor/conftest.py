"""The doctor as it is called, on an installation that the test has broken."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main

#: Nothing listens there.
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor has said."""

    exit_code: int
    document: Mapping[str, Any]
    text: str

    def of(self, check: str) -> list[tuple[str, str, str]]:
        """Return level, sentence and fix of each finding of a check."""
        return [
            (found["level"], found["sentence"], found["fix"])
            for found in self.document["findings"]
            if found["check"] == check
        ]

    def one(self, check: str) -> tuple[str, str, str]:
        """Return the only finding of a check."""
        (found,) = self.of(check)
        return found

    def bad(self) -> list[tuple[str, str, str]]:
        """Return each finding that is neither a hint nor in order: check, level, sentence."""
        return [
            (found["check"], found["level"], found["sentence"])
            for found in self.document["findings"]
            if found["level"] in ("warning", "failure")
        ]


Diagnose = Callable[..., Diagnosis]


def random_secret() -> str:
    return secrets.token_hex(24)


@pytest.fixture
def diagnose(monkeypatch: pytest.MonkeyPatch) -> Diagnose:
    """Call `attribution doctor --json`; ``only`` names checks, keywords are the environment."""

    def call(*options: str, only: tuple[str, ...] | str = (), **environment: object) -> Diagnosis:
        chosen = [option for name in ([only] if isinstance(only, str) else only) for option in ("--only", name)]
        variables = {f"ATTRIBUTION_{name.upper()}": str(value) for name, value in environment.items()}
        done = CliRunner().invoke(main, ["doctor", "--json", *chosen, *options], env=variables)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        assert "Traceback" not in done.output
        return Diagnosis(done.exit_code, json.loads(done.stdout), done.output)

    return call
