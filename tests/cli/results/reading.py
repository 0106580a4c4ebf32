"""What `attribution` prints, read as people's programs read it."""

from __future__ import annotations

import csv
import io
from datetime import datetime

from click.testing import CliRunner, Result

from cli.main import main


def attribution(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


def rows_of(shown: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown, newline="")))


def z(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
